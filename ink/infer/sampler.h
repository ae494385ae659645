// From logits to the next token: temperature, top-k, top-p.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ink/base/rng.h"

namespace ink {

struct SamplerOptions {
  float temperature = 1;  // 0 is greedy: the most likely token, the lowest id of equals
  int64_t top_k = 0;      // only the k most likely tokens; 0 for all
  float top_p = 1;        // only the fewest tokens whose probabilities reach p (Holtzman et al. 2020); 1 for all
  uint64_t seed = 42;

  // Throws UsageError if an option is out of its range.
  void validate() const;
};

class Sampler {
 public:
  Sampler(const SamplerOptions& options, int64_t vocab);

  // The next token. One random number is drawn, whatever the options (none when greedy). Ties are broken by the lower
  // id, so that the same logits, options and seed give the same token everywhere. logits holds vocab values; NaN counts
  // as -infinity.
  int32_t next(std::span<const float> logits);

 private:
  struct Candidate {
    float probability;
    int32_t id;
  };

  SamplerOptions options_;
  XorShift rng_;
  std::vector<Candidate> candidates_;
};

}  // namespace ink
