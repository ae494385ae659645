// Products of bf16 panels by AVX512-BF16's dot product, which Highway's version does not have: two multiply-adds a lane
// and instruction, summed in f32.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <utility>

#include "ink/cpu/gemm_blocks.h"

#define INK_BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512bf16")))

namespace ink::cpu {

namespace {

constexpr int kRows = static_cast<int>(kBf16Tile.rows), kVectors = 2, kLanes = 16;
static_assert(kBf16Tile.cols == int64_t{kVectors} * kLanes);

// c(R, 32) = a(k, R)ᵀ · b(k, 32), or c += that; the elements are pairs of bf16.
template <int R>
INK_BF16_TARGET void multiply_pairs(int64_t k, const float* a, const float* b, float* c, int64_t ldc, bool add,
                                    Fetch fetch) {
  constexpr int64_t kStep = 4;  // rows of b for each place that is fetched
  __m512 sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    _mm_prefetch(reinterpret_cast<const char*>(c + r * ldc), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(c + r * ldc + kBf16Tile.cols - 1), _MM_HINT_T0);
    sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  }
  for (int64_t start = 0; start < k; start += kStep) {
    fetch.step();
    for (int64_t i = start; i < std::min(start + kStep, k); ++i) {
      const auto row0 = (__m512bh)_mm512_load_ps(b), row1 = (__m512bh)_mm512_load_ps(b + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const auto factor = (__m512bh)_mm512_set1_ps(a[r]);
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], factor, row0);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], factor, row1);
      }
      a += R;
      b += kBf16Tile.cols;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + r * ldc + v * kLanes;
      _mm512_storeu_ps(to, add ? _mm512_add_ps(_mm512_loadu_ps(to), sum[r][v]) : sum[r][v]);
    }
  }
}

template <int... I>
constexpr std::array<MultiplyPanels, sizeof...(I)> all_heights(std::integer_sequence<int, I...>) {
  return {multiply_pairs<I + 1>...};
}

}  // namespace

const MultiplyPanels* bf16_multiply_panels() {
  static constexpr std::array<MultiplyPanels, kRows> kPanels = all_heights(std::make_integer_sequence<int, kRows>());
  return __builtin_cpu_supports("avx512bf16") ? kPanels.data() : nullptr;
}

}  // namespace ink::cpu
