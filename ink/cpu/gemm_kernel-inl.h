// The innermost part of a matrix product: packing into panels, and the product of two panels with the sums held in
// registers (Goto, van de Geijn 2008). Included once for every instruction set, as simd-inl.h is.
//
// A panel of a is up to kTileRows rows, stored column by column; a panel of b is kTileCols columns, stored row by row
// and filled up with zeros. Every element of the output is one chain of multiply-adds over k whatever the size of its
// panel, so where the output is cut does not change its bits.
#if defined(INK_CPU_GEMM_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INK_CPU_GEMM_KERNEL_INL_H_
#undef INK_CPU_GEMM_KERNEL_INL_H_
#else
#define INK_CPU_GEMM_KERNEL_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// The tile of sums that fills the registers: all but those that hold a row of b and an element of a.
constexpr bool kFewRegisters = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4;  // 16 instead of 32
constexpr int kTileVectors = kFewRegisters || kLanes == 16 ? 2 : 4;
constexpr int kTileRows = kLanes == 16 ? 14 : 6;
constexpr int64_t kTileCols = kTileVectors * kLanes;

// out(k,R) = a(R rows, k)ᵀ: rows lie lda apart.
template <int R>
void pack_rows(float* out, const float* a, int64_t lda, int64_t k) {
  transpose(a, R, k, lda, out, R);
}

// The same from a matrix that has them as columns: out(k,R) = a(k rows, R).
template <int R>
void pack_columns(float* out, const float* a, int64_t lda, int64_t k) {
  for (int64_t i = 0; i < k; ++i) std::memcpy(out + i * R, a + i * lda, R * sizeof(float));
}

// out(k,kTileCols) = b(k rows, cols), zeros beyond cols.
void pack_b_columns(float* out, const float* b, int64_t ldb, int64_t k, int64_t cols) {
  if (cols == kTileCols) {
    for (int64_t i = 0; i < k; ++i) std::memcpy(out + i * kTileCols, b + i * ldb, kTileCols * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < k; ++i) {
    std::copy_n(b + i * ldb, cols, out + i * kTileCols);
    std::fill(out + i * kTileCols + cols, out + (i + 1) * kTileCols, 0.0f);
  }
}

// out(k,kTileCols) = b(cols rows, k)ᵀ, zeros beyond cols.
void pack_b_rows(float* out, const float* b, int64_t ldb, int64_t k, int64_t cols) {
  transpose(b, cols, k, ldb, out, kTileCols);
  if (cols == kTileCols) return;
  for (int64_t i = 0; i < k; ++i) std::fill(out + i * kTileCols + cols, out + (i + 1) * kTileCols, 0.0f);
}

// Memory to be fetched while something else is computed: two cache lines at each of count places, stride apart.
struct Fetch {
  static constexpr int64_t kFloats = 32;  // in two lines
  const float* data;
  int64_t stride, count;
};

// c(R,kTileCols) = a(k,R)ᵀ · b(k,kTileCols), or c += that.
template <int R>
void multiply_panels(int64_t k, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, float* HWY_RESTRICT c,
                     int64_t ldc, bool add, Fetch fetch) {
  const Full d;
  using V = hn::Vec<Full>;
  for (int r = 0; r < R; ++r) {
    hwy::Prefetch(c + r * ldc);
    hwy::Prefetch(c + r * ldc + kTileCols - 1);
  }
  // Only where every loop over the sums is unrolled are they registers throughout.
  V sum[R][kTileVectors];
  HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  constexpr int64_t kStep = 8;  // one place is fetched for so many rows of b: a few at a time hold up nothing
  for (int64_t start = 0; start < k; start += kStep) {
    hwy::Prefetch(fetch.data);
    hwy::Prefetch(fetch.data + Fetch::kFloats / 2);
    fetch.data += --fetch.count > 0 ? fetch.stride : 0;
    for (int64_t i = start; i < std::min(start + kStep, k); ++i) {
      V row[kTileVectors];
      HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) row[v] = hn::Load(d, b + v * kLanes);
      HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
        const V factor = hn::Set(d, a[r]);
        HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
      }
      a += R;
      b += kTileCols;
    }
  }
  HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) {
      if (add) sum[r][v] = hn::Add(hn::LoadU(d, c + v * kLanes), sum[r][v]);
      hn::StoreU(sum[r][v], d, c + v * kLanes);
    }
    c += ldc;
  }
}

// What is written once for every height of a panel of a.
struct PanelKernel {
  void (*pack_rows)(float* out, const float* a, int64_t lda, int64_t k);
  void (*pack_columns)(float* out, const float* a, int64_t lda, int64_t k);
  void (*multiply)(int64_t k, const float* a, const float* b, float* c, int64_t ldc, bool add, Fetch fetch);
};

template <int... I>
constexpr std::array<PanelKernel, sizeof...(I)> panel_kernels(std::integer_sequence<int, I...>) {
  return {{{pack_rows<I + 1>, pack_columns<I + 1>, multiply_panels<I + 1>}...}};
}

// For panels of 1, 2, ... kTileRows rows.
constexpr std::array<PanelKernel, kTileRows> kPanelKernels =
    panel_kernels(std::make_integer_sequence<int, kTileRows>());

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
