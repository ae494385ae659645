// GPT-2 (Radford et al. 2019): its memory, forward pass and hand-written backward pass, over any Ops.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/rng.h"
#include "ink/model/config.h"
#include "ink/model/schema.h"
#include "ink/ops/ops.h"
#include "ink/tensor/plan.h"

namespace ink {

// Which products the backward pass computes again instead of keeping them from the forward pass: none, or all of a
// block but its input. Layer norms and GELU are never kept, as making them again costs next to nothing.
enum class Recompute : uint8_t { none, block };

struct Gpt2Options {
  int64_t batch = 1;      // B, the largest batch
  int64_t context = 0;    // T, the longest sequence; 0 for the config's
  bool training = false;  // gradients, and activations kept for the backward pass
  int64_t passes = 1;     // backward passes whose losses are kept until mean_loss() reads them
  Recompute recompute = Recompute::none;
  std::vector<std::string> optimizer_state;  // names of f32 buffers as large as the parameters: {"m", "v"}
};

// What the backward pass makes of the loss.
struct Backward {
  float grad_scale = 1;     // gradients are of loss · grad_scale: 1 / accumulation steps
  bool accumulate = false;  // add to the gradients of the passes before; otherwise they are written anew
  uint32_t rounding = 0;    // where weights are rounded for the device's storage: the seed of Cast
};

// One parameter tensor of the model, in memory order.
struct Param {
  std::string name;  // "h.0.ln_1.weight"
  const ParamSpec* spec;
  int64_t layer;              // 0 for tensors outside the layers
  Tensor weight;              // f32
  Tensor rounded;             // what the passes read: the weight as ops.storage() has it, itself where that is f32
  Tensor grad;                // empty unless training
  std::vector<Tensor> state;  // one an optimizer_state name
};

class Gpt2 {
 public:
  // Plans, allocating nothing yet. Throws Error if the options do not fit the config (a context longer than the
  // model's). ops must outlive the model.
  Gpt2(const Gpt2Config& config, const Gpt2Options& options, Ops& ops);
  ~Gpt2();

  const Gpt2Config& config() const;
  const Gpt2Options& options() const;
  const Plan& plan() const;
  Ops& ops() const;

  // Allocates what the plan says, all zero. Throws Error, before allocating, if that is more than the device's memory.
  void allocate();

  // GPT-2's initialisation; with rng seeded 42 the numbers of llm.c and of PyTorch's GPT-2.
  void init(Mt19937& rng);

  std::span<Param> params();
  std::span<const Param> params() const;

  // All gradients as one contiguous tensor (padding between tensors is zero).
  Tensor all_grads() const;

  // tokens and targets are (b, t) row-major host ids in [0, vocab), b ≤ options.batch, t ≤ options.context; ids out of
  // range throw Error naming the id and position. Nothing is allocated while b and t stay the same.

  // Mean cross-entropy loss, without gradients.
  float loss(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t);

  // Forward and backward: the parameters' gradients. Returns before a GPU has computed them, so that the next batch can
  // be made meanwhile; at most options.passes times, with the same b and t, before mean_loss() tells the loss.
  void backward(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t,
                const Backward& how = {});

  // Waits. Mean cross-entropy loss of the passes since the last call, each of which counts alike.
  double mean_loss();

  // One pass, and its loss.
  float loss_and_backward(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t,
                          const Backward& how = {});

  // Logits (vocab) of the positions in rows (each an index into the b·t rows) after a forward pass over tokens:
  // out holds rows.size() · vocab floats.
  void logits(std::span<const int32_t> tokens, int64_t b, int64_t t, std::span<const int64_t> rows,
              std::span<float> out);

  // The cross-entropy losses that loss(), mean_loss() or loss_and_backward() read last: b·t a pass.
  std::span<const float> losses() const;

  // The name of the first tensor that holds a NaN or infinity: parameters, then the activations in forward order,
  // then gradients; empty if all are finite.
  std::string first_non_finite() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink
