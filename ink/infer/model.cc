#include "ink/infer/model.h"

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/model_io.h"

namespace ink {

namespace {
constexpr int64_t kGpt2Vocab = 50257;
}

std::shared_ptr<const Tokenizer> find_tokenizer(const fs::path& model, int64_t vocab) {
  const bool beside = !model.empty() && (fs::exists(model / "tokenizer.json") || fs::exists(model / "vocab.json"));
  if (beside) return load_tokenizer(model);
  return vocab == kGpt2Vocab ? make_gpt2_tokenizer() : nullptr;
}

LoadedModel load_model(const fs::path& path, Ops& ops, int64_t context, const std::string& tokenizer) {
  const Gpt2Config config = read_model_config(path);
  LoadedModel loaded;
  if (tokenizer.empty()) {
    loaded.tokenizer = find_tokenizer(path, config.vocab);
  } else {
    loaded.tokenizer = open_tokenizer(tokenizer);
  }
  check(loaded.tokenizer != nullptr, "{}: no tokenizer.json beside the model; name one with --tokenizer",
        path.string());
  check(loaded.tokenizer->vocab_size() <= config.vocab, "{}: the tokenizer has {} tokens, the model only {}",
        path.string(), loaded.tokenizer->vocab_size(), config.vocab);
  loaded.model = std::make_unique<Gpt2>(config, Gpt2Options{.batch = 1, .context = context}, ops);
  loaded.model->allocate();
  load_weights(path, *loaded.model);
  return loaded;
}

}  // namespace ink
