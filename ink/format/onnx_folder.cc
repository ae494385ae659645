// A folder with an ONNX model, as Hugging Face's optimum lays it out.
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/onnx.h"
#include "ink/format/readers.h"

namespace ink {

std::string save_onnx_folder(const fs::path& path, const ModelSource& model, const Tokenizer* tokenizer,
                             const OnnxOptions& options) {
  std::error_code ignored;
  check(!fs::exists(fs::symlink_status(path, ignored)), "{}: exists already; choose another name or remove it",
        path.string());
  AtomicDirectory directory(path);
  const fs::path file = directory.temporary() / "model.onnx";
  const std::string what = save_onnx(file, model, options);
  write_huggingface_config(directory.temporary(), model.config(), options.dtype, tokenizer);
  directory.commit();
  return fmt::format("wrote {}: folder with model.onnx and config.json, {}; {}", path.string(),
                     tokenizer != nullptr ? fmt::format("{} tokenizer", tokenizer->name()) : "no tokenizer known",
                     what.substr(fmt::formatted_size("wrote {}: ", file.string())));
}

}  // namespace ink
