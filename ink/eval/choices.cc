#include "ink/eval/choices.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

#include "ink/base/check.h"

namespace ink {

namespace {

size_t longest_completion(const ChoiceExample& example) {
  size_t longest = 0;
  for (const auto& completion : example.completions) longest = std::max(longest, completion.size());
  return longest;
}

// Tokens of context that every completion leaves room for: the last token of a completion is not fed.
int64_t context_room(const Gpt2Inference& model, const ChoiceExample& example) {
  return model.options().context + 1 - static_cast<int64_t>(longest_completion(example));
}

// Completions from `begin` on, as many as the cache has room for at a time, after the context that `base` holds and its
// last token, which predicts the first of each completion. Appends their losses; returns how many there were.
size_t score_some(Gpt2Inference& model, const CachedSequence& base, int32_t last_of_context,
                  std::span<const std::vector<int32_t>> completions, std::vector<CompletionLoss>& result) {
  KvCache& cache = model.cache();
  const int64_t shared = cache.length(base.id());
  std::deque<CachedSequence> forks;
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<float>> losses;
  int64_t free_pages = cache.free_pages();
  while (forks.size() < completions.size() && cache.free_sequences() > 0) {
    const std::vector<int32_t>& completion = completions[forks.size()];
    // The last page of the context, if it is not full, is copied.
    free_pages -= KvCache::pages_for(shared % kPagePositions + static_cast<int64_t>(completion.size()));
    if (free_pages < 0 && !forks.empty()) break;
    forks.emplace_back(cache, base.id(), shared);
    std::vector<int32_t>& fed = ids.emplace_back(1, last_of_context);
    fed.insert(fed.end(), completion.begin(), completion.end() - 1);
    losses.emplace_back(completion.size());
  }
  std::vector<Gpt2Inference::Scored> batch;
  for (size_t i = 0; i < forks.size(); ++i) batch.push_back({{forks[i].id(), ids[i]}, completions[i], losses[i]});
  model.losses(batch);
  for (const std::vector<float>& nats : losses) {
    result.push_back(
        {.sum = std::accumulate(nats.begin(), nats.end(), 0.0), .tokens = static_cast<int64_t>(nats.size())});
  }
  return forks.size();
}

template <class Value>
int32_t least(const std::vector<CompletionLoss>& losses, const Value& value) {
  const auto found =
      std::min_element(losses.begin(), losses.end(), [&](const auto& a, const auto& b) { return value(a) < value(b); });
  return static_cast<int32_t>(found - losses.begin());
}

}  // namespace

std::vector<CompletionLoss> completion_losses(Gpt2Inference& model, const ChoiceExample& example) {
  const int64_t room = context_room(model, example);
  check(room >= 1, "a completion of {} tokens does not fit the context of {}", longest_completion(example),
        model.options().context);
  std::span<const int32_t> context = example.context;
  if (context.size() > static_cast<size_t>(room)) context = context.last(static_cast<size_t>(room));
  // The last token of the context predicts the first of each completion: it is fed with the completions.
  const std::span<const int32_t> shared = context.first(context.size() - 1);
  const CachedSequence base(model.cache());
  if (!shared.empty()) {
    const std::vector<int32_t> no_targets(shared.size(), -1);
    std::vector<float> no_losses(shared.size());
    const Gpt2Inference::Scored all = {{base.id(), shared}, no_targets, no_losses};
    model.losses(std::span(&all, 1));
  }
  std::vector<CompletionLoss> result;
  const std::span<const std::vector<int32_t>> completions = example.completions;
  for (size_t done = 0; done < completions.size();) {
    done += score_some(model, base, context.back(), completions.subspan(done), result);
  }
  return result;
}

ChoiceResult answer_choices(Gpt2Inference& model, std::span<const ChoiceExample> examples,
                            const std::function<void(int64_t, int64_t)>& progress) {
  ChoiceResult result;
  for (const ChoiceExample& example : examples) {
    std::vector<CompletionLoss> losses;
    try {
      losses = completion_losses(model, example);
    } catch (const Error& error) {
      fail("example {}: {}", result.examples, error.what());
    }
    result.right += least(losses, [](const CompletionLoss& l) { return l.sum; }) == example.label;
    result.right_norm += least(losses, [](const CompletionLoss& l) { return l.mean(); }) == example.label;
    result.cut += static_cast<int64_t>(example.context.size()) > context_room(model, example);
    ++result.examples;
    if (progress) progress(result.examples, static_cast<int64_t>(examples.size()));
  }
  return result;
}

Interval wilson_interval(int64_t right, int64_t all) {
  if (all == 0) return {};
  constexpr double z = 1.959963984540054;  // of the normal distribution: 95% lies within ±z
  const double n = static_cast<double>(all), p = static_cast<double>(right) / n;
  const double middle = p + z * z / (2 * n);
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  const double scale = 1 + z * z / n;
  return {std::max(0.0, (middle - half) / scale), std::min(1.0, (middle + half) / scale)};
}

}  // namespace ink
