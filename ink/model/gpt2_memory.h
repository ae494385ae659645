// Where GPT-2's tensors lie: its parameters by the names the forward pass uses, and the activations of one step.
#pragma once

#include <cstdint>
#include <vector>

#include "ink/model/config.h"
#include "ink/model/gpt2.h"
#include "ink/tensor/plan.h"

namespace ink {

// One layer's parameters, or their gradients, in the schema's order.
struct BlockWeights {
  Tensor ln1, ln1_bias;            // (C)
  Tensor qkv, qkv_bias;            // (3C,C), (3C)
  Tensor att_proj, att_proj_bias;  // (C,C), (C)
  Tensor ln2, ln2_bias;            // (C)
  Tensor fc, fc_bias;              // (4C,C), (4C)
  Tensor fc_proj, fc_proj_bias;    // (C,4C), (C)
};

struct Weights {
  Tensor wte;  // (Vp,C)
  Tensor wpe;  // (maxT,C)
  std::vector<BlockWeights> blocks;
  Tensor lnf, lnf_bias;  // (C)
  Tensor head;           // (Vp,C), the classifier's: wte, unless the model is untied
};

// The parameters (member = &Param::weight) or gradients (&Param::grad), once they are bound.
Weights weights_of(const std::vector<Param>& params, int64_t layers, Tensor Param::*member);

// What one block leaves behind for its backward pass.
struct BlockActivations {
  Tensor residual1, ln1_mean, ln1_rstd;  // (B,T,C), (B,T), (B,T): the block's input, and its first layer norm's
  Tensor qkv, att, lse;                  // (B,T,3C), (B,T,C), (B,NH,T)
  Tensor residual2, ln2_mean, ln2_rstd;  // as the first layer norm's
  Tensor fc;                             // (B,T,4C)
};

struct Activations {
  Tensor tokens, targets;  // (B,T) i32
  std::vector<BlockActivations> blocks;
  Tensor residual, lnf, lnf_mean, lnf_rstd;  // (B,T,C), (B,T,C), (B,T), (B,T)
  Tensor losses;                             // (passes·B,T)

  // Scratch. Tensors in one line share their bytes: at most one of them is alive at a time.
  Tensor logits;           // (rows,Vp), a chunk of them
  Tensor ln, dln;          // (B,T,C)
  Tensor branch, datt;     // (B,T,C); branch is what attention or the MLP is about to add to the residual stream
  Tensor gelu, dfc, dqkv;  // (B,T,4C), (B,T,4C), (B,T,3C)
  Tensor dresidual;        // (B,T,C), the gradient that flows back along the residual stream
  Tensor delta;            // (B,NH,T)
};

// Declares every parameter, also as storage (see Ops::storage) where that is not f32, then its gradient and optimizer
// state as far as the options ask for them.
void plan_params(Plan& plan, std::vector<Param>& params, const Gpt2Config& config, const Gpt2Options& options,
                 DType storage);

// Declares the activations of a step of batch b and context t; tokens is the first. What a larger b or t takes is never
// less, so that a smaller step fits into the memory of a larger one.
void plan_activations(Plan& plan, Activations& x, const Gpt2Config& config, const Gpt2Options& options, DType storage,
                      int64_t b, int64_t t);

}  // namespace ink
