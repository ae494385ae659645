// Whether an operation's tensors fit each other, as ops.h states it. Backends say assert(fits(a)) on entry.
#pragma once

#include "ink/ops/ops.h"

namespace ink {

// How a device keeps tensors: activations, their gradients and weights as real (f32 or bf16), and indices where the
// host may read them or not.
struct Storage {
  DType real = DType::f32;
  bool readable = true;
};
inline Storage on_device(DType real) { return {.real = real, .readable = false}; }

bool fits(const Embed& a, const Storage& s = {});
bool fits(const EmbedBackward& a, const Storage& s = {});
bool fits(const AddLayerNorm& a, const Storage& s = {});
bool fits(const AddLayerNormBackward& a, const Storage& s = {});
bool fits(const Gemm& a, const Storage& s = {});
bool fits(const Gelu& a, const Storage& s = {});
bool fits(const Attention& a, const Storage& s = {});
bool fits(const AttentionBackward& a, const Storage& s = {});
bool fits(const CachedAttention& a, const Storage& s = {});
bool fits(const Classifier& a, const Storage& s = {});
bool fits(const AdamW& a);
bool fits(const Sgd& a);
bool fits(const Cast& a);

// The dimensions of a product: op(a) is (m, k), op(b) is (k, n), out is (m, n).
struct GemmDims {
  int64_t m, n, k;
};
inline GemmDims dims_of(const Gemm& a) {
  return {.m = a.trans_a ? a.a.cols() : a.a.rows(),
          .n = a.trans_b ? a.b.rows() : a.b.cols(),
          .k = a.trans_a ? a.a.rows() : a.a.cols()};
}

}  // namespace ink
