#include "ink/cpu/gemm_finish.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gemm_finish.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

void finish_tile_kernel(const Gemm& g, const Tile& tile) {
  const int64_t N = g.out.cols();
  for (int64_t m = tile.m; m < tile.m + tile.rows; ++m) {
    const int64_t start = m * N + tile.n;
    float* out = g.out.f32() + start;
    const float* bias = g.bias ? g.bias.f32() + tile.n : nullptr;
    if (g.gelu_in) {
      float* in = g.gelu_in.f32() + start;
      for_vectors(tile.cols, [&](auto d, int64_t i) HWY_ATTR {
        auto x = hn::LoadU(d, in + i);
        if (bias != nullptr) x = hn::Add(x, hn::LoadU(d, bias + i));
        hn::StoreU(x, d, in + i);
        hn::StoreU(gelu_vector(d, x), d, out + i);
      });
    } else if (g.dgelu_in) {
      const float* in = g.dgelu_in.f32() + start;
      for_vectors(tile.cols, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::Mul(hn::LoadU(d, out + i), gelu_slope_vector(d, hn::LoadU(d, in + i))), d, out + i);
      });
    } else if (bias != nullptr) {
      for_vectors(tile.cols, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::Add(hn::LoadU(d, out + i), hn::LoadU(d, bias + i)), d, out + i);
      });
    }
  }
}

// Sums of 64 rows first: the rounding error stays small.
void add_column_sums_kernel(float* out, const float* a, int64_t rows, int64_t stride, int64_t n) {
  constexpr int64_t kRows = 64;
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    auto total = hn::Zero(d);
    for (int64_t begin = 0; begin < rows; begin += kRows) {
      auto sum = hn::Zero(d);
      for (int64_t k = begin; k < std::min(rows, begin + kRows); ++k)
        sum = hn::Add(sum, hn::LoadU(d, a + k * stride + i));
      total = hn::Add(total, sum);
    }
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), total), d, out + i);
  });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(finish_tile_kernel);
HWY_EXPORT(add_column_sums_kernel);

void finish_tile(const Gemm& g, const Tile& tile) {
  if (g.bias || g.gelu_in || g.dgelu_in) HWY_DYNAMIC_DISPATCH(finish_tile_kernel)(g, tile);
}

void add_column_sums(float* out, const float* a, int64_t rows, int64_t stride, int64_t n) {
  HWY_DYNAMIC_DISPATCH(add_column_sums_kernel)(out, a, rows, stride, n);
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
