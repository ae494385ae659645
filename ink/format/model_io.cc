#include "ink/format/model_io.h"

#include <cstring>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/readers.h"

namespace ink {

namespace {

void check_equal(const std::string& where, std::string_view what, int64_t file, int64_t model) {
  check(file == model, "{}: the file's {} is {}, the model's {}", where, what, file, model);
}

int32_t leading_word(std::span<const std::byte> bytes) {
  int32_t word = 0;
  if (bytes.size() >= sizeof word) std::memcpy(&word, bytes.data(), sizeof word);
  return word;
}

}  // namespace

bool is_llmc_model(std::span<const std::byte> bytes) { return leading_word(bytes) == kLlmcModelMagic; }

ModelFormat detect_model(const std::filesystem::path& path) {
  const std::string where = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  check(fs::exists(status), "{}: no such file or folder", where);
  if (fs::is_directory(status)) {
    check(fs::exists(path / "config.json", error), "{}: a folder without config.json, not a model", where);
    return ModelFormat::huggingface;
  }
  const MappedFile file(path);
  if (is_llmc_model(file.bytes())) return ModelFormat::llmc;
  const bool inside = path.extension() == ".safetensors" || path.extension() == ".json";
  fail("{}: not an llm.c model file ({} bytes, magic {}, expected {}){}", where, file.bytes().size(),
       leading_word(file.bytes()), kLlmcModelMagic, inside ? "; give the folder that holds it" : "");
}

Gpt2Config read_model_config(const std::filesystem::path& path) {
  return detect_model(path) == ModelFormat::llmc ? read_llmc_config(path) : read_huggingface_config(path);
}

void load_weights(const std::filesystem::path& path, Gpt2& model) {
  const ModelFormat format = detect_model(path);
  const Gpt2Config file = read_model_config(path);
  const Gpt2Config& config = model.config();
  const std::string where = path.string();
  check_equal(where, "context", file.context, config.context);
  check_equal(where, "vocab", file.vocab, config.vocab);
  check_equal(where, "layers", file.layers, config.layers);
  check_equal(where, "heads", file.heads, config.heads);
  check_equal(where, "channels", file.channels, config.channels);
  check(file.eps == config.eps, "{}: the file's layer norm epsilon is {}, the model's {}", where, file.eps, config.eps);
  return format == ModelFormat::llmc ? load_llmc(path, model) : load_huggingface(path, model);
}

}  // namespace ink
