// How well a model predicts text: its mean loss over windows of tokens.
#pragma once

#include <cstdint>
#include <functional>

#include "ink/model/gpt2_inference.h"
#include "ink/text/tokenizer.h"

namespace ink {

// Tokens wherever they are.
struct TokenStream {
  int64_t size = 0;
  std::function<int32_t(int64_t i)> token;
};

// A window that begins at token i feeds tokens i to i + n - 1 and predicts i + 1 to i + n, n being the context, or less
// at the end. Every token counts once, in the first window that predicts it; the very first token never does.
struct WindowOptions {
  int64_t context = 0;  // tokens that a window feeds; 0: what the model has room for
  int64_t stride = 0;   // from one window to the next; 0: the context, so that windows do not overlap
  int64_t skip = 0;     // predictions at the beginning of a window that never count
};

struct TextLoss {
  int64_t tokens = 0;  // that count
  int64_t windows = 0;
  int64_t bytes = 0;  // of the counted tokens' text; special tokens have none
  double nats = 0;    // the sum of their losses

  TextLoss& operator+=(const TextLoss& other);
  double mean() const { return nats / static_cast<double>(tokens); }
  double perplexity() const;
  double bits_per_byte() const;  // infinite for text without bytes
};

// Throws Error for an option that is out of range, a stream of less than two tokens, a token outside the model's
// vocabulary, and options by which nothing counts. `tokenizer` tells the bytes. progress is told the tokens that
// windows have reached, and all; it may be empty. Takes a sequence of the model's cache for as long.
TextLoss text_loss(Gpt2Inference& model, const TokenStream& stream, const WindowOptions& options,
                   const Tokenizer& tokenizer, const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace ink
