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

#include "ink/cpu/gemm_blocks.h"
#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// The tile of sums that fills the registers: all but those that hold a row of b and an element of a.
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
template <class T>
void pack_b_columns(float* out, const T* b, int64_t ldb, int64_t k, int64_t cols) {
  const Full d;
  for (int64_t i = 0; i < k; ++i, b += ldb, out += kTileCols) {
    if (cols == kTileCols) {
      HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) {
        hn::Store(load_floats(d, b + v * kLanes), d, out + v * kLanes);
      }
    } else {
      for (int64_t n = 0; n < kTileCols; ++n) out[n] = n < cols ? widen(b[n]) : 0;
    }
  }
}

// out(k,kTileCols) = b(cols rows, k)ᵀ, zeros beyond cols.
template <class T>
void pack_b_rows(float* out, const T* b, int64_t ldb, int64_t k, int64_t cols) {
  transpose(b, cols, k, ldb, out, kTileCols);
  if (cols == kTileCols) return;
  for (int64_t i = 0; i < k; ++i) std::fill(out + i * kTileCols + cols, out + (i + 1) * kTileCols, 0.0f);
}

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
    fetch.step();
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

// What is written once for every height of a panel of a: 1, 2, ... kTileRows rows.
struct PanelKernel {
  void (*pack_rows)(float* out, const float* a, int64_t lda, int64_t k);
  void (*pack_columns)(float* out, const float* a, int64_t lda, int64_t k);
  MultiplyPanels multiply;
};

template <int... I>
constexpr std::array<PanelKernel, sizeof...(I)> panel_kernels(std::integer_sequence<int, I...>) {
  return {{{pack_rows<I + 1>, pack_columns<I + 1>, multiply_panels<I + 1>}...}};
}

constexpr std::array<PanelKernel, kTileRows> kPanelKernels =
    panel_kernels(std::make_integer_sequence<int, kTileRows>());

// The bits of x rounded to bf16 (to the nearest, ties to even), in the upper half of each lane; the lower is not zero.
template <class D, class DU = hn::RebindToUnsigned<D>>
HWY_INLINE hn::Vec<DU> bf16_bits(D d, hn::Vec<D> x) {
  const DU du;
  const auto bits = hn::BitCast(du, x);
  const auto half = hn::Add(hn::Set(du, 0x7fff), hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));  // a NaN must not be carried into infinity
  return hn::IfThenElse(hn::MaskFromVec(hn::BitCast(du, hn::VecFromMask(d, hn::IsNaN(x)))), quiet, hn::Add(bits, half));
}

// Rounds n elements to bf16, which they keep as floats.
inline void round_to_bf16(float* x, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> du;
    const auto upper = hn::And(bf16_bits(d, hn::LoadU(d, x + i)), hn::Set(du, 0xffff0000u));
    hn::StoreU(hn::BitCast(d, upper), d, x + i);
  });
}

// A panel in(k, width) as bf16: row i of out holds the elements of rows 2·i (lower halves) and 2·i + 1 of in.
inline void pair_rows(float* out, const float* in, int64_t k, int64_t width) {
  for (int64_t i = 0; i < k; i += 2) {
    const float* even = in + i * width;
    const float* odd = even + width;
    const bool last = i + 1 == k;  // paired with zeros
    for_vectors(width, [&](auto d, int64_t j) HWY_ATTR {
      const hn::RebindToUnsigned<decltype(d)> du;
      const auto low = hn::ShiftRight<16>(bf16_bits(d, hn::LoadU(d, even + j)));
      const auto high = last ? hn::Zero(du) : hn::And(bf16_bits(d, hn::LoadU(d, odd + j)), hn::Set(du, 0xffff0000u));
      hn::StoreU(hn::BitCast(d, hn::Or(high, low)), d, out + i / 2 * width + j);
    });
  }
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
