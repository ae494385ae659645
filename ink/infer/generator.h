// Text from a model: prompt in, tokens out one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/infer/sampler.h"
#include "ink/model/gpt2_inference.h"
#include "ink/text/tokenizer.h"

namespace ink {

struct GenerateOptions {
  int64_t max_tokens = 256;
  int64_t vocab = 0;  // only ids below this are drawn: a tokenizer may have fewer than the model; 0: all of the model's
  SamplerOptions sampler;
  bool stop_at_end_of_text = true;  // for tokenizers that have such a token
  int64_t logprobs = -1;            // of so many alternatives, beside the chosen token's; -1 for none at all
};

struct GeneratedToken {
  int32_t id = 0;
  std::vector<TokenLogprob> logprobs;  // the chosen token's, then the most likely ones'; empty unless asked for
};

// Appends tokens to ids (the prompt, not empty) until max_tokens are added or the end of text is drawn (which is not
// appended), calling token for each; token returns false to stop. Takes a sequence of the model's cache for as long.
// The model sees at most the last options().context ids: when they are full, the older half of them is forgotten.
// Returns the number of tokens added. Throws Error for an empty prompt, an id out of range or a cache without room.
int64_t generate(Gpt2Inference& model, const GenerateOptions& options, int32_t end_of_text, std::vector<int32_t>& ids,
                 const std::function<bool(const GeneratedToken& token)>& token);

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

// Ends a text before the first of some strings, and holds back what may turn out to be the beginning of one.
class StopStrings {
 public:
  // Empty strings are left out.
  explicit StopStrings(std::vector<std::string> stops);

  // What of the text so far is certain to come before any stop string, and was not returned before; nothing once one
  // has been found.
  std::string push(std::string_view text);
  bool found() const { return found_; }
  // What was held back, at the end of the text.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  bool found_ = false;
};

}  // namespace ink
