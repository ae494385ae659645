// From logits to the next token: penalties, logit bias, temperature, top-k, top-p, min-p, in this order.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "ink/base/rng.h"

namespace ink {

struct SamplerOptions {
  float temperature = 1;         // 0 is greedy: the most likely token, the lowest id of equals
  int64_t top_k = 0;             // only the k most likely tokens; 0 for all
  float top_p = 1;               // only the fewest tokens whose probabilities reach p (Holtzman et al. 2020); 1 for all
  float min_p = 0;               // only tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024)
  float repetition_penalty = 1;  // logits of seen tokens: / penalty if positive, else · penalty (Keskar et al. 2019)
  float presence_penalty = 0;    // off the logits of tokens that were generated before, once
  float frequency_penalty = 0;   // and as often as they were
  std::map<int32_t, float> logit_bias;  // added to the logits of these ids; -inf forbids one
  uint64_t seed = 42;

  // Throws UsageError if an option is out of its range.
  void validate() const;
};

// How likely a token is under the model: the logarithm of its probability at temperature 1, before any option.
struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

class Sampler {
 public:
  // Tokens are ids in [0, vocab). Throws UsageError as validate() does, and for a biased id out of range.
  Sampler(const SamplerOptions& options, int64_t vocab);

  // The next token after `seen`: the prompt, of so many tokens, and what was generated since. The repetition penalty
  // looks at all, presence and frequency penalty at what was generated. One random number is drawn, whatever the
  // options (none when greedy). Ties are broken by the lower id, so that the same logits, options and seed give the
  // same token everywhere. logits holds vocab values; NaN counts as -infinity.
  int32_t next(std::span<const float> logits, std::span<const int32_t> seen = {}, size_t prompt = 0);

 private:
  struct Candidate {
    float probability;
    int32_t id;
  };

  void adjust(std::span<const float> logits, std::span<const int32_t> seen, size_t prompt);
  template <class Change>
  void change_each(std::span<const int32_t> ids, const Change& change);
  int32_t draw(size_t best);

  SamplerOptions options_;
  XorShift rng_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<bool> marked_;  // ids seen; all false between calls
};

// The log-probability of `chosen`, then those of the `top` most likely tokens in their order, ties by the lower id.
std::vector<TokenLogprob> logprobs(std::span<const float> logits, int32_t chosen, int64_t top);

}  // namespace ink
