// Models in files: Hugging Face model directories, llm.c's .bin and GGUF, opened as a ModelSource and written from one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "ink/format/model_source.h"
#include "ink/model/gpt2.h"

namespace ink {

enum class ModelFormat { huggingface, llmc, gguf };

// Whether a file that begins with these bytes means to be an llm.c model, or a GGUF file.
bool is_llmc_model(std::span<const std::byte> bytes);
bool is_gguf(std::span<const std::byte> bytes);

// What a path holds: a directory with config.json is huggingface, a file with llm.c's or GGUF's magic is that. Throws
// Error for anything else, saying what was found.
ModelFormat detect_model(const std::filesystem::path& path);

// Maps the model's files, whatever the format. Everything about them is checked here: dimensions, names, types, sizes.
// Throws Error naming file and tensor. The tokenizer is read when it is asked for.
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path);

// A model in memory, f32, as long as that lives: views of host memory, copies of a device's. It has no tokenizer.
std::unique_ptr<ModelSource> model_source(const Gpt2& model);

// The dimensions, with the checks of open_model.
Gpt2Config read_model_config(const std::filesystem::path& path);

// Reads the weights, which become f32. The model's config must equal the source's. Throws Error naming file, tensor and
// sizes; the model's weights are then unspecified.
void load_weights(const ModelSource& source, Gpt2& model);
void load_weights(const std::filesystem::path& path, Gpt2& model);

// The type of the layers' matrices: the finest, where they differ.
DType matrix_type(const ModelSource& source);

// Whether every value of the model keeps its bits in dtype (f32, f16 or bf16).
bool fits(const ModelSource& source, DType dtype);

// The type that holds the values of the whole model without loss in formats that have one type for all tensors and no
// blocks: the matrices' own, if the tensors stored finer fit into it; else f32.
DType lossless_type(const ModelSource& source);

// Writes config.json, model.safetensors and the tokenizer's files, unless that is null, into an existing directory: the
// embedding trimmed to V rows, matrices as transformers stores them (in, out), f32, f16 or bf16. Elements of that type
// are copied as they are.
void save_huggingface(const std::filesystem::path& directory, const ModelSource& source, DType dtype,
                      const Tokenizer* tokenizer = nullptr);
void save_huggingface(const std::filesystem::path& directory, const Gpt2& model,
                      const Tokenizer* tokenizer = nullptr);  // f32

// Writes an llm.c model file: version 3 (f32) or, with bf16, version 5. Throws Error for what the format cannot hold.
void save_llmc(const std::filesystem::path& path, const ModelSource& source, bool bf16);
void save_llmc(const std::filesystem::path& path, const Gpt2& model, bool bf16 = false);

// Where the tokenizer of an llm.c model file is looked for and written: my_tokenizer.bin beside my.bin.
std::filesystem::path llmc_tokenizer_path(const std::filesystem::path& model);

// The types of a GGUF file's tensors by class; those not given stay as they are stored (Q6_K: f16). Vectors and the
// position embedding are f32 always, as llama.cpp expects.
struct GgufTypes {
  std::optional<DType> matrices;   // of the layers
  std::optional<DType> embedding;  // of tokens, and the classifier where it has weights of its own
};

// The type that a parameter gets: f16 where the rows are no whole number of the wanted type's blocks.
DType gguf_dtype(const ParamSpec& spec, const StoredTensor& tensor, const GgufTypes& types);

// Writes a GGUF file, version 3, with the tokenizer unless that is null.
void save_gguf(const std::filesystem::path& path, const ModelSource& source, const GgufTypes& types,
               const Tokenizer* tokenizer);

}  // namespace ink
