// Text from a model: prompt in, tokens out one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/infer/sampler.h"
#include "ink/model/gpt2.h"
#include "ink/text/tokenizer.h"

namespace ink {

struct GenerateOptions {
  int64_t max_tokens = 256;
  int64_t vocab = 0;  // only ids below this are drawn: a tokenizer may have fewer than the model; 0: all of the model's
  SamplerOptions sampler;
  bool stop_at_end_of_text = true;  // for tokenizers that have such a token
};

// Appends tokens to ids (the prompt, not empty) until max_tokens are added or the end of text is drawn (which is not
// appended), calling token for each; token returns false to stop. The model sees the last options().context ids.
// Returns the number of tokens added. Throws Error for an empty prompt or an id out of range.
int64_t generate(Gpt2& model, const GenerateOptions& options, int32_t end_of_text, std::vector<int32_t>& ids,
                 const std::function<bool(int32_t id)>& token);

// The prompt that stands for "no prompt": the end-of-text token where the tokenizer has one, else a newline, else the
// first token.
std::vector<int32_t> default_prompt(const Tokenizer& tokenizer);

// Holds back bytes until they are whole UTF-8 characters, so that a stream never shows half of one.
class Utf8Stream {
 public:
  // The whole characters that bytes complete. Bytes that can never become UTF-8 pass through as they are.
  std::string push(std::string_view bytes);
  // What is left at the end of the stream.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace ink
