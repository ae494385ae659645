// Optimizers by name: one row and one function each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ink/model/gpt2.h"
#include "ink/ops/ops.h"

namespace ink {

struct OptimizerOptions {
  float beta1 = 0.9f;  // adamw
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float momentum = 0.9f;   // sgd
  float weight_decay = 0;  // of matrices; vectors (biases, layer norms) are not decayed
};

// One update of one parameter tensor.
struct UpdateStep {
  float lr = 0;
  float grad_scale = 1;  // clipping: the gradient is multiplied by this first
  int64_t step = 1;      // counts from 1
};

struct Optimizer {
  std::string_view name;
  std::string_view description;
  std::span<const std::string_view> state;  // f32 buffers it keeps for each parameter, zero at first
  void (*update)(Ops& ops, const Param& param, const OptimizerOptions& options, const UpdateStep& step);
};

std::span<const Optimizer> optimizers();

// Throws UsageError naming the nearest optimizer.
const Optimizer& find_optimizer(std::string_view name);

}  // namespace ink
