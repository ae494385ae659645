// Models from one file format to another, and to coarser types.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "ink/base/dtype.h"

namespace ink {

// Reads the model at `in` (a run folder, a Hugging Face directory, an llm.c .bin, a GGUF file) and writes it to `out`,
// whose name says the format: NAME.bin llm.c's, NAME.gguf GGUF, NAME.onnx ONNX, any other a Hugging Face directory with
// the tokenizer, where one is known. Without dtype (f32, f16 or bf16) nothing is lost where the format can hold it:
// GGUF keeps each tensor as it is stored, the others take the one type that holds all values. Returns a line that says
// what was read, written and lost. Throws Error, UsageError for a dtype that the format does not have; `out` must not
// exist and is whole or absent.
std::string convert_model(const std::filesystem::path& in, const std::filesystem::path& out,
                          std::optional<DType> dtype);

struct QuantizeOptions {
  DType type = DType::q8_0;        // of the layers' matrices
  std::optional<DType> embedding;  // of the token embedding and an untied classifier; q8_0 for q4_0, else type
};

// Writes the model at `in` to `out` with other types by class of tensor; vectors and the position embedding stay f32.
// `out` is NAME.gguf or, for types without blocks that are the same for all, as convert_model's. Rows that are no whole
// number of blocks become f16. Returns lines for people: each class with its type and bytes, and the total before and
// after. Throws as convert_model.
std::string quantize_model(const std::filesystem::path& in, const std::filesystem::path& out,
                           const QuantizeOptions& options);

// "q8_0": throws UsageError for another word than f32, f16, bf16, q8_0, q4_0.
DType dtype_from_name(std::string_view name);

}  // namespace ink
