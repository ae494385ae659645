// What open_model dispatches to, one function a format, and what formats share. Private to the room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "ink/format/model_source.h"

namespace ink {

std::unique_ptr<ModelSource> open_huggingface(const std::filesystem::path& directory);
std::unique_ptr<ModelSource> open_llmc(const std::filesystem::path& path);
std::unique_ptr<ModelSource> open_gguf(const std::filesystem::path& path);

// config.json and the tokenizer's files (null: none), which other formats' folders have too.
void write_huggingface_config(const std::filesystem::path& directory, const Gpt2Config& config, DType dtype,
                              const Tokenizer* tokenizer);

inline constexpr int32_t kLlmcModelMagic = 20240326;
inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"

}  // namespace ink
