// What an operation has to do, whoever does it: FLOPs and bytes. A multiply-add is two FLOPs; the bytes are those that
// must come from memory or go there when the caches hold nothing: each tensor read once, written once.
//
//   operation                FLOPs                              counted as
//   gemm                     2·M·N·K                            compute
//   attention                2·B·C·T·(T+1): two products        compute
//                            over the causal half
//   attention_backward       5·B·C·T·(T+1): the scores again,   compute
//                            then the gradients of p, v, q, k
//   classifier               2·N·V·C; with gradients 6·N·V·C    compute
//   embed, add_layernorm, gelu, adamw, sgd, fill, copy,         memory: the bytes of the tensors that are read, of
//   sum_squares, all_finite and their backward passes           those written, and twice those of the ones updated
//
// f32: adamw moves 28 bytes a parameter, sgd 20, sum_squares 4, gelu 8 an element. The embedding counts the rows that
// the tokens pick. The epilogues of gemm (bias, GELU) and softmax are not counted: they are to hide behind the
// products.
#pragma once

#include "ink/bench/calls.h"

namespace ink::bench {

enum class Bound : uint8_t { compute, memory };

struct Cost {
  Bound bound = Bound::memory;  // which of the two counts
  double flops = 0;             // 0 for memory-bound operations
  double bytes = 0;
  double amount() const { return bound == Bound::compute ? flops : bytes; }
};

Cost cost_of(const Call& call);

// What the machine does at most.
struct Peaks {
  double flops = 0;  // FLOP/s
  Bandwidth memory;
};

// FLOP/s or bytes/s that bound the operation, 0 if not known.
double peak_for(Bound bound, const Peaks& peaks);

// A step of training at the machine's peaks and no faster: its FLOPs, then one pass of the optimizer, during which
// nothing is left to compute. Seconds; 0 where a peak is not known.
struct Floor {
  double flops = 0;      // of the step
  double compute = 0;    // seconds
  double optimizer = 0;  // seconds
  double seconds() const { return compute + optimizer; }
};
// Adam's pass: 28 bytes a parameter at the speed of such a pass.
Floor floor_of(const Gpt2Config& config, int64_t tokens, int64_t seq_len, const Peaks& peaks);

}  // namespace ink::bench
