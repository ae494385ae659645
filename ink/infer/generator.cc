#include "ink/infer/generator.h"

#include <algorithm>
#include <utility>

#include "ink/base/check.h"

namespace ink {

int64_t generate(Gpt2& model, const GenerateOptions& options, int32_t end_of_text, std::vector<int32_t>& ids,
                 const std::function<bool(int32_t id)>& token) {
  check(!ids.empty(), "the prompt is empty; give at least one token");
  const int64_t vocab = model.config().vocab;
  const int64_t drawn = options.vocab > 0 ? std::min(options.vocab, vocab) : vocab;
  const auto window = static_cast<size_t>(model.options().context);
  Sampler sampler(options.sampler, drawn);
  std::vector<float> logits(static_cast<size_t>(vocab));
  int64_t added = 0;
  while (added < options.max_tokens) {
    const size_t t = std::min(ids.size(), window);
    const std::span<const int32_t> seen(ids.data() + ids.size() - t, t);
    const int64_t last_row = static_cast<int64_t>(t) - 1;
    model.logits(seen, 1, static_cast<int64_t>(t), std::span(&last_row, 1), logits);
    const int32_t next = sampler.next(std::span(logits).first(static_cast<size_t>(drawn)));
    if (options.stop_at_end_of_text && next == end_of_text) break;
    ids.push_back(next);
    ++added;
    if (!token(next)) break;
  }
  return added;
}

std::vector<int32_t> default_prompt(const Tokenizer& tokenizer) {
  if (const auto end = tokenizer.end_of_text()) return {*end};
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.token(id) == "\n") return {id};
  }
  return {0};
}

namespace {
// How many bytes the character that starts with this byte has; 0 for a byte that starts none.
size_t utf8_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}
}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  // Only the last character can be unfinished: look for its first byte among the last three.
  for (size_t back = 1; back <= std::min<size_t>(3, pending_.size()); ++back) {
    const auto byte = static_cast<unsigned char>(pending_[pending_.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // a continuation
    if (utf8_length(byte) > back) {
      std::string whole = pending_.substr(0, pending_.size() - back);
      pending_.erase(0, whole.size());
      return whole;
    }
    break;
  }
  return std::exchange(pending_, {});
}

std::string Utf8Stream::finish() { return std::exchange(pending_, {}); }

}  // namespace ink
