#include "ink/infer/model.h"

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/infer/weights.h"

namespace ink {

namespace {
constexpr int64_t kGpt2Vocab = 50257;
}

std::shared_ptr<const Tokenizer> find_tokenizer(const fs::path& model, int64_t vocab) {
  const bool beside = !model.empty() && (fs::exists(model / "tokenizer.json") || fs::exists(model / "vocab.json"));
  if (beside) return load_tokenizer(model);
  return vocab == kGpt2Vocab ? make_gpt2_tokenizer() : nullptr;
}

std::shared_ptr<const Tokenizer> find_tokenizer(const ModelSource& source) {
  std::shared_ptr<const Tokenizer> own = source.tokenizer();
  return own != nullptr ? own : find_tokenizer({}, source.config().vocab);
}

LoadedModel load_model(const fs::path& path, Ops& ops, const InferenceOptions& options, const std::string& tokenizer) {
  const std::shared_ptr<const ModelSource> source = open_model(path);
  const int64_t vocab = source->config().vocab;
  LoadedModel loaded;
  loaded.tokenizer = tokenizer.empty() ? find_tokenizer(*source) : open_tokenizer(tokenizer);
  check(loaded.tokenizer != nullptr, "{}: no tokenizer with the model; name one with --tokenizer", path.string());
  check(loaded.tokenizer->vocab_size() <= vocab, "{}: the tokenizer has {} tokens, the model only {}", path.string(),
        loaded.tokenizer->vocab_size(), vocab);
  loaded.model = std::make_unique<Gpt2Inference>(load_inference_weights(source, ops), options, ops);
  return loaded;
}

}  // namespace ink
