#include "ink/infer/generator.h"

#include <algorithm>
#include <utility>

#include "ink/base/check.h"

namespace ink {

namespace {

// A sequence of a model's cache that follows a growing text.
class Window {
 public:
  explicit Window(Gpt2Inference& model) : model_(model), sequence_(model.cache()) {}

  // The logits (vocab) after the last of ids, of which all but the new ones were there at the last call.
  void advance(std::span<const int32_t> ids, std::span<float> logits) {
    const auto context = static_cast<size_t>(model_.cache().context());
    size_t fresh = ids.size() - seen_;
    if (static_cast<size_t>(model_.cache().length(sequence_.id())) + fresh > context) {
      // The positions of all that is kept change, and with them their keys and values.
      model_.cache().truncate(sequence_.id(), 0);
      fresh = std::min(ids.size(), seen_ == 0 ? context : std::max<size_t>(1, context / 2));
    }
    const Gpt2Inference::Tokens tokens = {sequence_.id(), ids.last(fresh)};
    model_.forward(std::span(&tokens, 1), logits);
    seen_ = ids.size();
  }

 private:
  Gpt2Inference& model_;
  CachedSequence sequence_;
  size_t seen_ = 0;
};

}  // namespace

int64_t generate(Gpt2Inference& model, const GenerateOptions& options, int32_t end_of_text, std::vector<int32_t>& ids,
                 const std::function<bool(const GeneratedToken& token)>& token) {
  check(!ids.empty(), "the prompt is empty; give at least one token");
  const int64_t vocab = model.config().vocab;
  const int64_t drawn = options.vocab > 0 ? std::min(options.vocab, vocab) : vocab;
  Sampler sampler(options.sampler, drawn);
  std::vector<float> logits(static_cast<size_t>(vocab));
  const std::span<const float> known = std::span(logits).first(static_cast<size_t>(drawn));
  Window window(model);
  const size_t prompt = ids.size();
  int64_t added = 0;
  while (added < options.max_tokens) {
    window.advance(ids, logits);
    GeneratedToken next = {.id = sampler.next(known, ids, prompt), .logprobs = {}};
    if (options.stop_at_end_of_text && next.id == end_of_text) break;
    if (options.logprobs >= 0) next.logprobs = logprobs(known, next.id, options.logprobs);
    ids.push_back(next.id);
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

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopStrings::push(std::string_view text) {
  if (found_) return "";
  pending_ += text;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) end = std::min(end, pending_.find(stop));
  found_ = end != std::string::npos;
  if (!found_) {
    end = pending_.size();
    for (const std::string& stop : stops_) {
      // The longest end of the text that begins this string.
      for (size_t n = std::min(stop.size() - 1, pending_.size()); n > 0; --n) {
        if (!pending_.ends_with(std::string_view(stop).substr(0, n))) continue;
        end = std::min(end, pending_.size() - n);
        break;
      }
    }
  }
  std::string certain = pending_.substr(0, end);
  pending_.erase(0, end);
  return certain;
}

std::string StopStrings::finish() { return found_ ? "" : std::exchange(pending_, {}); }

}  // namespace ink
