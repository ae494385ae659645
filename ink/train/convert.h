// Models from one file format to another.
#pragma once

#include <filesystem>
#include <string>

#include "ink/ops/ops.h"

namespace ink {

// Reads the model at `in` (a run folder, a Hugging Face directory, an llm.c .bin) and writes it to `out`: a name that
// ends in .bin is llm.c's format (version 5 with bf16, else 3), any other a Hugging Face directory with the tokenizer,
// where one is known. Returns a line that says what was done. Throws Error; `out` must not exist and is whole or
// absent.
std::string convert_model(const std::filesystem::path& in, const std::filesystem::path& out, bool bf16, Ops& ops);

}  // namespace ink
