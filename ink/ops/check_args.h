// Whether an operation's tensors fit each other, as ops.h states it. Backends say assert(fits(a)) on entry.
#pragma once

#include "ink/ops/ops.h"

namespace ink {

bool fits(const Embed& a);
bool fits(const EmbedBackward& a);
bool fits(const AddLayerNorm& a);
bool fits(const AddLayerNormBackward& a);
bool fits(const Gemm& a);
bool fits(const Gelu& a);
bool fits(const Attention& a);
bool fits(const AttentionBackward& a);
bool fits(const CachedAttention& a);
bool fits(const Classifier& a);
bool fits(const AdamW& a);
bool fits(const Sgd& a);

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
