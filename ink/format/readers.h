// What model_io.cc dispatches to: one pair of functions a format. Private to the room.
#pragma once

#include <filesystem>

#include "ink/model/gpt2.h"

namespace ink {

// The dimensions, checked against the sizes in the file or folder.
Gpt2Config read_huggingface_config(const std::filesystem::path& directory);
Gpt2Config read_llmc_config(const std::filesystem::path& path);

// The weights. The caller has checked that the model has the file's dimensions.
void load_huggingface(const std::filesystem::path& directory, Gpt2& model);
void load_llmc(const std::filesystem::path& path, Gpt2& model);

inline constexpr int32_t kLlmcModelMagic = 20240326;

}  // namespace ink
