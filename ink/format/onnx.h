// ONNX: a GPT-2 as a graph of standard operators, for ONNX Runtime and the programs built on it. https://onnx.ai
// Inputs and outputs have the names that Hugging Face's exporter (optimum) gives them; docs/formats.md lists them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "ink/base/dtype.h"
#include "ink/format/model_source.h"

namespace ink {

struct OnnxOptions {
  DType dtype = DType::f32;         // or f16: matrices and their products; norms, softmax and logits are f32 in both
  bool kv_cache = false;            // takes the keys and values of earlier tokens, and gives back those of all
  bool external_data = false;       // the weights in a file beside; beyond inline_limit they are either way
  size_t inline_limit = INT32_MAX;  // bytes of a file that protobuf reads
};

// The name of the file beside an ONNX file that holds its weights: NAME.onnx.data.
inline std::filesystem::path onnx_data_path(const std::filesystem::path& path) { return path.string() + ".data"; }

// Writes the model to path, and its weights beside where they do not fit or external_data says so. The weights pass
// through memory in small pieces. Both files appear whole or not at all, the weights first. Returns a line that says
// what was written. Throws Error if one of them exists already, if a weight is too large for f16, and in a build
// without the ONNX library.
std::string save_onnx(const std::filesystem::path& path, const ModelSource& model, const OnnxOptions& options = {});

// The same as model.onnx in a new folder, with config.json, and the tokenizer unless that is null: what optimum's
// ORTModelForCausalLM opens. Returns a line that says what was written.
std::string save_onnx_folder(const std::filesystem::path& path, const ModelSource& model, const Tokenizer* tokenizer,
                             const OnnxOptions& options = {});

// For `ink info`: what ONNX files are written with, or that this build writes none.
std::string onnx_library();

}  // namespace ink
