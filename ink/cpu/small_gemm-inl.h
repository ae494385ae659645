// Products of small matrices that lie in the cache, which attention is made of. Included once for every instruction
// set, as simd-inl.h is. Every element of a product is one chain of multiply-adds over k, whatever the other sizes are.
#ifndef INK_CPU_SMALL_GEMM_VIEW_
#define INK_CPU_SMALL_GEMM_VIEW_

#include <cstdint>

namespace ink::cpu {

// A matrix with any distance between rows and between columns, to be read.
struct View {
  const float* data;
  int64_t row, col;
};

}  // namespace ink::cpu
#endif

#if defined(INK_CPU_SMALL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INK_CPU_SMALL_GEMM_INL_H_
#undef INK_CPU_SMALL_GEMM_INL_H_
#else
#define INK_CPU_SMALL_GEMM_INL_H_
#endif

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// The tile of sums: as many registers as leave room for a row of b and an element of a.
constexpr int kSumRows = 6;
constexpr int kSumVectors = kFewRegisters ? 2 : 4;

enum class Write { set, add };

// c(R, V vectors) = a(R,k) · b(k, V vectors), or c += that, with the sums held in registers.
template <Write W, int R, int V, class D>
HWY_INLINE void multiply_tile(D d, int64_t k, View a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sum[R][V];
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < V; ++v) {
      sum[r][v] = W == Write::add ? hn::LoadU(d, c + r * ldc + v * lanes) : hn::Zero(d);
    }
  }
  for (int64_t i = 0; i < k; ++i) {
    hn::Vec<D> row[V];
    HWY_UNROLL(4) for (int v = 0; v < V; ++v) row[v] = hn::LoadU(d, b + i * ldb + v * lanes);
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
      const auto factor = hn::Set(d, a.data[r * a.row + i * a.col]);
      HWY_UNROLL(4) for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, c + r * ldc + v * lanes);
  }
}

template <Write W, int V, class D>
HWY_NOINLINE void multiply_columns(D d, int64_t m, int64_t k, View a, const float* b, int64_t ldb, float* c,
                                   int64_t ldc) {
  int64_t r = 0;
  const auto rows = [&](int64_t from) { return View{a.data + from * a.row, a.row, a.col}; };
  for (; r + kSumRows <= m; r += kSumRows) {
    multiply_tile<W, kSumRows, V>(d, k, rows(r), b, ldb, c + r * ldc, ldc);
  }
  for (; r + 4 <= m; r += 4) multiply_tile<W, 4, V>(d, k, rows(r), b, ldb, c + r * ldc, ldc);
  for (; r < m; ++r) multiply_tile<W, 1, V>(d, k, rows(r), b, ldb, c + r * ldc, ldc);
}

// c(m,n) = a(m,k) · b(k,n), or c += that: small matrices that lie in the cache.
template <Write W>
void multiply(int64_t m, int64_t n, int64_t k, View a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  const Full d;
  const hn::CappedTag<float, 4> quarter;
  const auto few = static_cast<int64_t>(hn::Lanes(quarter));
  int64_t i = 0;
  for (; n - i >= kSumVectors * kLanes; i += kSumVectors * kLanes) {
    multiply_columns<W, kSumVectors>(d, m, k, a, b + i, ldb, c + i, ldc);
  }
  for (; n - i >= 2 * kLanes; i += 2 * kLanes) multiply_columns<W, 2>(d, m, k, a, b + i, ldb, c + i, ldc);
  for (; n - i >= kLanes; i += kLanes) multiply_columns<W, 1>(d, m, k, a, b + i, ldb, c + i, ldc);
  for (; n - i >= few; i += few) multiply_columns<W, 1>(quarter, m, k, a, b + i, ldb, c + i, ldc);
  for (; i < n; ++i) multiply_columns<W, 1>(Single(), m, k, a, b + i, ldb, c + i, ldc);
}

// out(rows,n) = in(rows,n): next to each other, where rows far apart would push each other out of the cache.
inline void copy_rows(float* out, const float* in, int64_t rows, int64_t stride, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors(n,
                [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::LoadU(d, in + r * stride + i), d, out + r * n + i); });
  }
}

inline void scale_row(float* x, int64_t n, float factor) {
  for_vectors(
      n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), d, x + i); });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
