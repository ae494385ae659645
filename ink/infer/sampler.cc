#include "ink/infer/sampler.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "ink/base/check.h"

namespace ink {

void SamplerOptions::validate() const {
  if (!(temperature >= 0) || std::isinf(temperature)) {
    throw UsageError(fmt::format("--temperature {}: must be 0 (greedy) or above", temperature));
  }
  if (top_k < 0) throw UsageError(fmt::format("--top-k {}: must be 0 (all tokens) or above", top_k));
  if (!(top_p > 0 && top_p <= 1)) throw UsageError(fmt::format("--top-p {}: must be above 0 and at most 1", top_p));
}

Sampler::Sampler(const SamplerOptions& options, int64_t vocab) : options_(options), rng_(options.seed) {
  options.validate();
  candidates_.resize(static_cast<size_t>(vocab));
}

int32_t Sampler::next(std::span<const float> logits) {
  assert(logits.size() == candidates_.size());
  const auto logit = [&](size_t i) { return std::isnan(logits[i]) ? -INFINITY : logits[i]; };
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logit(i) > logit(best)) best = i;
  }
  if (options_.temperature == 0) return static_cast<int32_t>(best);
  const float random = rng_.uniform();
  if (std::isinf(logit(best))) return static_cast<int32_t>(best);  // certain; or nothing is possible: the first id

  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_[i] = {std::exp((logit(i) - logit(best)) / options_.temperature), static_cast<int32_t>(i)};
  }
  // Sorting is needed only to cut; uncut sampling walks the ids in order.
  size_t kept = candidates_.size();
  if (options_.top_k > 0) kept = std::min(kept, static_cast<size_t>(options_.top_k));
  const bool cut = kept < candidates_.size() || options_.top_p < 1;
  if (cut) {
    const auto likelier = [](const Candidate& a, const Candidate& b) {
      return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
    };
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<int64_t>(kept), candidates_.end(),
                      likelier);
  }
  double total = 0;
  for (size_t i = 0; i < kept; ++i) total += candidates_[i].probability;
  if (options_.top_p < 1) {
    const double wanted = total * options_.top_p;
    double reached = 0;
    size_t nucleus = 0;
    while (nucleus < kept && reached < wanted) reached += candidates_[nucleus++].probability;
    kept = std::max<size_t>(1, nucleus);
    total = reached;
  }
  const double target = random * total;
  double reached = 0;
  for (size_t i = 0; i < kept; ++i) {
    reached += candidates_[i].probability;
    if (target < reached) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;  // rounding
}

}  // namespace ink
