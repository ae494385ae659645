#include "ink/eval/choices.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "ink/base/check.h"
#include "ink/eval/sequence.h"

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
  std::vector<int32_t> ids, no_targets(shared.size(), -1);
  std::vector<float> losses(shared.size());
  const Sequence base(model.cache());
  if (!shared.empty()) model.losses({base.id(), shared}, no_targets, losses);
  std::vector<CompletionLoss> result;
  for (const std::vector<int32_t>& completion : example.completions) {
    ids.assign(1, context.back());
    ids.insert(ids.end(), completion.begin(), completion.end() - 1);
    losses.resize(ids.size());
    const Sequence sequence(model.cache(), base.id(), static_cast<int64_t>(shared.size()));
    model.losses({sequence.id(), ids}, completion, losses);
    CompletionLoss& loss = result.emplace_back();
    loss.tokens = static_cast<int64_t>(completion.size());
    for (const float nats : losses) loss.sum += nats;
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
