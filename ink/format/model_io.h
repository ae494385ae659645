// Models in files: a Hugging Face model directory and llm.c's .bin, read into and written from a Gpt2.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "ink/model/gpt2.h"

namespace ink {

enum class ModelFormat { huggingface, llmc };

// Whether a file that begins with these bytes means to be an llm.c model.
bool is_llmc_model(std::span<const std::byte> bytes);

// What a path holds: a directory with config.json is huggingface, a file with llm.c's magic is llmc. Throws Error for
// anything else, saying what was found.
ModelFormat detect_model(const std::filesystem::path& path);

// The dimensions, read without the weights; sizes are checked against the file's.
Gpt2Config read_model_config(const std::filesystem::path& path);

// Reads the weights. The model's config must equal the file's except for a context and vocabulary that the caller
// chose; those two must match as well. Throws Error naming file, tensor and sizes; the model's weights are then
// unspecified.
void load_weights(const std::filesystem::path& path, Gpt2& model);

// Writes config.json and model.safetensors (f32, the embedding trimmed to V rows, matrices as transformers stores them)
// into an existing directory.
void save_huggingface(const std::filesystem::path& directory, const Gpt2& model);

// Writes an llm.c model file: version 3 (f32) or, with bf16, version 5.
void save_llmc(const std::filesystem::path& path, const Gpt2& model, bool bf16 = false);

}  // namespace ink
