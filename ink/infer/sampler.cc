#include "ink/infer/sampler.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "ink/base/check.h"

namespace ink {

namespace {
constexpr float kNever = -std::numeric_limits<float>::infinity();
}

void SamplerOptions::validate() const {
  if (!(temperature >= 0) || std::isinf(temperature)) {
    throw UsageError(fmt::format("--temperature {}: must be 0 (greedy) or above", temperature));
  }
  if (top_k < 0) throw UsageError(fmt::format("--top-k {}: must be 0 (all tokens) or above", top_k));
  if (!(top_p > 0 && top_p <= 1)) throw UsageError(fmt::format("--top-p {}: must be above 0 and at most 1", top_p));
  if (!(min_p >= 0 && min_p <= 1)) throw UsageError(fmt::format("--min-p {}: must be from 0 (off) to 1", min_p));
  if (!(repetition_penalty > 0) || std::isinf(repetition_penalty)) {
    throw UsageError(fmt::format("--repetition-penalty {}: must be above 0; 1 is none", repetition_penalty));
  }
  if (!std::isfinite(presence_penalty)) {
    throw UsageError(fmt::format("--presence-penalty {}: must be a finite number", presence_penalty));
  }
  if (!std::isfinite(frequency_penalty)) {
    throw UsageError(fmt::format("--frequency-penalty {}: must be a finite number", frequency_penalty));
  }
  for (const auto& [id, bias] : logit_bias) {
    if (std::isnan(bias) || bias == -kNever) throw UsageError(fmt::format("--logit-bias {}={}: no number", id, bias));
  }
}

Sampler::Sampler(const SamplerOptions& options, int64_t vocab) : options_(options), rng_(options.seed) {
  options.validate();
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocab) {
      throw UsageError(fmt::format("--logit-bias {}={}: the tokens are 0 to {}", id, bias, vocab - 1));
    }
  }
  logits_.resize(static_cast<size_t>(vocab));
  candidates_.resize(logits_.size());
  marked_.resize(logits_.size());
}

// Changes the logit of each of the ids, once however often it comes.
template <class Change>
void Sampler::change_each(std::span<const int32_t> ids, const Change& change) {
  for (const int32_t id : ids) {
    const auto i = static_cast<size_t>(id);
    if (i >= logits_.size() || marked_[i]) continue;
    marked_[i] = true;
    logits_[i] = change(logits_[i]);
  }
  for (const int32_t id : ids) {
    if (static_cast<size_t>(id) < marked_.size()) marked_[static_cast<size_t>(id)] = false;
  }
}

// logits_ = logits after penalties and bias.
void Sampler::adjust(std::span<const float> logits, std::span<const int32_t> seen, size_t prompt) {
  std::ranges::transform(logits, logits_.begin(), [](float x) { return std::isnan(x) ? kNever : x; });
  if (const float penalty = options_.repetition_penalty; penalty != 1) {
    change_each(seen, [&](float x) { return x > 0 ? x / penalty : x * penalty; });
  }
  const std::span<const int32_t> generated = seen.subspan(prompt);
  if (options_.presence_penalty != 0) {
    change_each(generated, [&](float x) { return x - options_.presence_penalty; });
  }
  if (options_.frequency_penalty != 0) {
    for (const int32_t id : generated) {
      if (static_cast<size_t>(id) < logits_.size()) logits_[static_cast<size_t>(id)] -= options_.frequency_penalty;
    }
  }
  for (const auto& [id, bias] : options_.logit_bias) logits_[static_cast<size_t>(id)] += bias;
}

int32_t Sampler::next(std::span<const float> logits, std::span<const int32_t> seen, size_t prompt) {
  assert(logits.size() == logits_.size() && prompt <= seen.size());
  adjust(logits, seen, prompt);
  const auto best = static_cast<size_t>(std::ranges::max_element(logits_) - logits_.begin());
  return options_.temperature == 0 ? static_cast<int32_t>(best) : draw(best);
}

int32_t Sampler::draw(size_t best) {
  const float random = rng_.uniform();
  if (std::isinf(logits_[best])) return static_cast<int32_t>(best);  // certain; or nothing is possible: the first id
  for (size_t i = 0; i < logits_.size(); ++i) {
    candidates_[i] = {std::exp((logits_[i] - logits_[best]) / options_.temperature), static_cast<int32_t>(i)};
  }
  // Only as much is sorted as the cuts need: a whole vocabulary takes as long as a token of a small model.
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
  };
  auto begin = candidates_.begin(), end = candidates_.end();
  const auto sum = [&] {
    return std::accumulate(begin, end, 0.0, [](double total, const Candidate& c) { return total + c.probability; });
  };
  if (options_.top_k > 0 && options_.top_k < end - begin) {
    end = begin + options_.top_k;
    std::partial_sort(begin, end, candidates_.end(), likelier);
  }
  double total = sum();
  const double wanted = total * options_.top_p;
  if (options_.min_p > 0) {  // the likeliest has probability 1 here
    end = std::remove_if(begin, end, [&](const Candidate& c) { return c.probability < options_.min_p; });
    total = sum();
  }
  if (options_.top_p < 1) {
    const auto less_likely = [&](const Candidate& a, const Candidate& b) { return likelier(b, a); };
    std::make_heap(begin, end, less_likely);
    total = 0;
    auto least = end;  // of those taken, which gather at the end
    while (least != begin && total < wanted) {
      std::pop_heap(begin, least, less_likely);
      total += (--least)->probability;
    }
    begin = least;
    std::reverse(begin, end);
  }
  const double target = random * total;
  double reached = 0;
  for (auto c = begin; c != end; ++c) {
    reached += c->probability;
    if (target < reached) return c->id;
  }
  return (end - 1)->id;  // rounding
}

std::vector<TokenLogprob> logprobs(std::span<const float> logits, int32_t chosen, int64_t top) {
  const auto logit = [&](int32_t id) {
    const float x = logits[static_cast<size_t>(id)];
    return std::isnan(x) ? kNever : x;
  };
  float max = kNever;
  for (const float x : logits) max = std::max(max, x);  // NaN is never the larger
  double sum = 0;
  for (const float x : logits) sum += std::isnan(x) ? 0 : std::exp(double{x} - max);
  const double log_sum = max + std::log(sum);
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto count = std::min(top, static_cast<int64_t>(ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(),
                    [&](int32_t a, int32_t b) { return logit(a) != logit(b) ? logit(a) > logit(b) : a < b; });
  std::vector<TokenLogprob> result = {{chosen, static_cast<float>(logit(chosen) - log_sum)}};
  for (int64_t i = 0; i < count; ++i) {
    const int32_t id = ids[static_cast<size_t>(i)];
    result.push_back({id, static_cast<float>(logit(id) - log_sum)});
  }
  return result;
}

}  // namespace ink
