#include "ink/eval/text_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "ink/base/check.h"

namespace ink {

namespace {

WindowOptions resolve(WindowOptions o, int64_t room) {
  if (o.context == 0) o.context = room;
  check(o.context >= 1 && o.context <= room, "a context of {} tokens; the model has room for 1 to {}", o.context, room);
  if (o.stride == 0) o.stride = o.context;
  check(o.stride >= 1, "windows cannot be {} tokens apart, only 1 or more", o.stride);
  check(o.skip >= 0 && o.skip < o.context, "of windows of {} tokens the first {} cannot be left out", o.context,
        o.skip);
  return o;
}

// The bytes of a token's text. Special tokens stand for none.
class TokenBytes {
 public:
  explicit TokenBytes(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (const auto& [text, id] : tokenizer.special_tokens()) special_.insert(id);
  }
  int64_t operator()(int32_t id) const {
    if (id >= tokenizer_.vocab_size() || special_.contains(id)) return 0;
    return static_cast<int64_t>(tokenizer_.token(id).size());
  }

 private:
  const Tokenizer& tokenizer_;
  std::set<int32_t> special_;
};

}  // namespace

TextLoss& TextLoss::operator+=(const TextLoss& other) {
  tokens += other.tokens;
  windows += other.windows;
  bytes += other.bytes;
  nats += other.nats;
  return *this;
}

double TextLoss::perplexity() const { return std::exp(mean()); }

double TextLoss::bits_per_byte() const {
  return bytes == 0 ? std::numeric_limits<double>::infinity() : nats / std::log(2.0) / static_cast<double>(bytes);
}

TextLoss text_loss(Gpt2Inference& model, const TokenStream& stream, const WindowOptions& options,
                   const Tokenizer& tokenizer, const std::function<void(int64_t, int64_t)>& progress) {
  const WindowOptions o = resolve(options, model.options().context);
  check(stream.size >= 2, "{} tokens are too few to predict one from another", stream.size);
  const TokenBytes bytes_of(tokenizer);
  const int64_t last = stream.size - 1;
  TextLoss result;
  std::vector<int32_t> ids, targets;
  std::vector<float> losses;
  int64_t counted = 1;  // tokens before this one have counted, or never will
  for (int64_t begin = 0; begin < last; begin += o.stride) {
    const int64_t n = std::min(o.context, last - begin);
    const int64_t first = std::max(counted, begin + 1 + o.skip);  // the first prediction that counts
    if (first <= begin + n) {
      ids.clear();
      targets.clear();
      for (int64_t i = begin; i < begin + n; ++i) {
        ids.push_back(stream.token(i));
        targets.push_back(i + 1 < first ? -1 : stream.token(i + 1));
      }
      losses.resize(ids.size());
      const CachedSequence sequence(model.cache());
      const Gpt2Inference::Scored window = {{sequence.id(), ids}, targets, losses};
      model.losses(std::span(&window, 1));
      for (size_t i = 0; i < losses.size(); ++i) {
        if (targets[i] < 0) continue;
        result.nats += losses[i];
        result.bytes += bytes_of(targets[i]);
        ++result.tokens;
      }
      ++result.windows;
      counted = begin + n + 1;
    }
    if (progress) progress(begin + n, last);
    if (begin + n == last) break;
  }
  check(result.tokens > 0, "of {} tokens none counts, as the first {} of every window are left out", stream.size,
        o.skip);
  return result;
}

}  // namespace ink
