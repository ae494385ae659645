#include "ink/format/model_io.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/element_reader.h"
#include "ink/format/readers.h"

namespace ink {

namespace {

void check_equal(const std::string& where, std::string_view what, int64_t file, int64_t model) {
  check(file == model, "{}: the file's {} is {}, the model's {}", where, what, file, model);
}

uint32_t leading_word(std::span<const std::byte> bytes) {
  uint32_t word = 0;
  if (bytes.size() >= sizeof word) std::memcpy(&word, bytes.data(), sizeof word);
  return word;
}

// The parameters of a model in memory.
class Gpt2Source final : public ModelSource {
 public:
  explicit Gpt2Source(const Gpt2& model) : model_(model) {}

  std::string description() const override { return "model in memory, f32"; }
  const Gpt2Config& config() const override { return model_.config(); }

  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    for (const Param& param : model_.params()) {
      if (param.spec == &spec && param.layer == layer) return stored(param);
    }
    fail("the model has no parameter {}", param_name(spec, layer));
  }

 private:
  // Without the padding of the vocabulary.
  StoredTensor stored(const Param& param) const {
    const Tensor& w = param.weight;
    const Tensor rows = param.spec->vocab_rows ? w.slice_rows(0, model_.config().vocab) : w;
    if (model_.ops().reads_host_memory()) return {w.dtype, rows.shape, false, {rows.data, rows.bytes()}, nullptr};
    auto copy = std::make_shared<std::vector<std::byte>>(rows.bytes());
    model_.ops().download(copy->data(), rows);
    return {w.dtype, rows.shape, false, *copy, copy};
  }

  const Gpt2& model_;
};

// The tensor's rows become f32 in the model's memory, and the padding of the vocabulary zero.
void load_tensor(const StoredTensor& tensor, const Tensor& w, Ops& ops) {
  const Tensor flat(w.data, w.dtype, {w.numel(), 1});
  ElementReader reader(tensor, DType::f32, false);
  int64_t done = 0;
  for (auto piece = reader.next(); !piece.empty(); piece = reader.next()) {
    const auto count = static_cast<int64_t>(piece.size() / sizeof(float));
    ops.upload(flat.slice_rows(done, count), piece.data());
    done += count;
  }
  ops.fill(flat.slice_rows(done, flat.rows() - done), 0);
}

}  // namespace

bool is_llmc_model(std::span<const std::byte> bytes) { return leading_word(bytes) == uint32_t{kLlmcModelMagic}; }
bool is_gguf(std::span<const std::byte> bytes) { return leading_word(bytes) == kGgufMagic; }

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
  if (is_gguf(file.bytes())) return ModelFormat::gguf;
  const bool inside = path.extension() == ".safetensors" || path.extension() == ".json";
  fail("{}: not an llm.c model file ({} bytes, magic {}, expected {}) nor GGUF{}", where, file.bytes().size(),
       leading_word(file.bytes()), kLlmcModelMagic, inside ? "; give the folder that holds it" : "");
}

std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path) {
  switch (detect_model(path)) {
    case ModelFormat::llmc:
      return open_llmc(path);
    case ModelFormat::gguf:
      return open_gguf(path);
    case ModelFormat::huggingface:
      break;
  }
  return open_huggingface(path);
}

std::unique_ptr<ModelSource> model_source(const Gpt2& model) { return std::make_unique<Gpt2Source>(model); }

Gpt2Config read_model_config(const std::filesystem::path& path) { return open_model(path)->config(); }

void load_weights(const ModelSource& source, Gpt2& model) {
  const Gpt2Config& file = source.config();
  const Gpt2Config& config = model.config();
  const std::string where = source.description();
  check_equal(where, "context", file.context, config.context);
  check_equal(where, "vocab", file.vocab, config.vocab);
  check_equal(where, "layers", file.layers, config.layers);
  check_equal(where, "heads", file.heads, config.heads);
  check_equal(where, "channels", file.channels, config.channels);
  check(file.eps == config.eps, "{}: the file's layer norm epsilon is {}, the model's {}", where, file.eps, config.eps);
  check(file.tied == config.tied, "{}: the file's classifier {} the token embedding, the model's {}", where,
        file.tied ? "is" : "is not", config.tied ? "is" : "is not");
  for (const Param& param : model.params()) {
    const StoredTensor tensor = source.tensor(*param.spec, param.layer);
    load_tensor(tensor, param.weight, model.ops());
    source.drop(tensor);
  }
}

void load_weights(const std::filesystem::path& path, Gpt2& model) { load_weights(*open_model(path), model); }

DType matrix_type(const ModelSource& source) {
  // From the finest to the coarsest.
  constexpr std::array kOrder = {DType::f32, DType::bf16, DType::f16, DType::q8_0, DType::q4_0};
  size_t finest = kOrder.size() - 1;
  for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
    if (!spec.transposed) return;  // these are the layers' matrices
    const auto found = std::ranges::find(kOrder, source.tensor(spec, layer).dtype);
    finest = std::min(finest, static_cast<size_t>(found - kOrder.begin()));
  });
  return kOrder[finest];
}

bool fits(const ModelSource& source, DType dtype) {
  bool all = true;
  for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
    if (!all) return;
    const StoredTensor tensor = source.tensor(spec, layer);
    all = fits(tensor, dtype);
    source.drop(tensor);
  });
  return all;
}

DType lossless_type(const ModelSource& source) {
  const DType dtype = matrix_type(source);
  return block_of(dtype) == 1 && fits(source, dtype) ? dtype : DType::f32;
}

void save_huggingface(const std::filesystem::path& directory, const Gpt2& model, const Tokenizer* tokenizer) {
  save_huggingface(directory, *model_source(model), DType::f32, tokenizer);
}

void save_llmc(const std::filesystem::path& path, const Gpt2& model, bool bf16) {
  save_llmc(path, *model_source(model), bf16);
}

}  // namespace ink
