// How well a model answers multiple-choice questions: which completion of a text it holds for the most likely.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "ink/data/eval_file.h"
#include "ink/model/gpt2_inference.h"

namespace ink {

// The loss of one completion after its context.
struct CompletionLoss {
  double sum = 0;  // nats
  int64_t tokens = 0;
  double mean() const { return sum / static_cast<double>(tokens); }
};

struct Interval {
  double low = 0, high = 1;
};

struct ChoiceResult {
  int64_t examples = 0;
  int64_t right = 0;       // the right completion has the least sum of losses
  int64_t right_norm = 0;  // ... the least mean loss a token: llm.c's rule (evalloader_stat_losses)
  int64_t cut = 0;         // examples whose context was too long: they lost its beginning
  double acc() const { return static_cast<double>(right) / static_cast<double>(examples); }
  double acc_norm() const { return static_cast<double>(right_norm) / static_cast<double>(examples); }
};

// The losses of an example's completions. The context is computed once for all of them, and begins later where context
// and completion do not fit the model's context. Throws Error for a completion that does not fit with one token of
// context, and for tokens outside the model's vocabulary. Takes the free sequences of the model's cache for as long, of
// which there are two at least: more let completions be computed together.
std::vector<CompletionLoss> completion_losses(Gpt2Inference& model, const ChoiceExample& example);

// Answers all; the first of equal completions wins. Throws Error naming the example. progress may be empty.
ChoiceResult answer_choices(Gpt2Inference& model, std::span<const ChoiceExample> examples,
                            const std::function<void(int64_t done, int64_t total)>& progress = {});

// Where the true share lies with 95% confidence, `right` of `all` having been seen (Wilson 1927).
Interval wilson_interval(int64_t right, int64_t all);

}  // namespace ink
