// The operations of the accelerate device, one file each. They take the arguments of ops.h, already checked. Where a
// sum is cut depends on the shapes alone. vDSP and vForce promise no bits: another version of macOS or another
// processor may round otherwise.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ink/accelerate/bnns.h"
#include "ink/base/parallel.h"
#include "ink/cpu/scratch.h"
#include "ink/ops/ops.h"

namespace ink::accelerate {

// Elements of a task of an elementwise loop, and of the pieces it goes through: a few of those stay in the nearest
// cache while one function of the library after another passes over them.
constexpr int64_t kGrain = 16384, kPiece = 2048;

// Runs body(begin, size) over pieces of [begin, end).
template <class Body>
void for_pieces(int64_t begin, int64_t end, const Body& body) {
  for (; begin < end; begin += kPiece) body(begin, std::min(kPiece, end - begin));
}

// What products are computed with, and the working memory of those whose inputs are converted first.
struct Products {
  Ops* cpu;        // for those that wait for memory
  DType rounding;  // what inputs are rounded to: f32 (not at all) or bf16
  Bnns bnns;
  cpu::Scratch a, b, out, workspace;
};

// Weights of blocks (q8_0, q4_0) are not for these two.
void gemm(ThreadPool& pool, Products& products, const Gemm& g);
void classifier(ThreadPool& pool, Products& products, const Classifier& a);

void add_layernorm(ThreadPool& pool, const AddLayerNorm& a);
void add_layernorm_backward(ThreadPool& pool, cpu::Scratch& scratch, cpu::ScratchSlots& slots,
                            const AddLayerNormBackward& a);
void gelu(ThreadPool& pool, const Bnns& bnns, const Gelu& a);
void adamw(ThreadPool& pool, const AdamW& a);
void sgd(ThreadPool& pool, const Sgd& a);

// out[i] = gelu(in[i]) and dout[i] *= gelu'(in[i]), for i in [0, n). out may be in.
void gelu_range(const Bnns& bnns, float* out, const float* in, int64_t n);
void scale_by_gelu_slope(float* dout, const float* in, int64_t n);

}  // namespace ink::accelerate
