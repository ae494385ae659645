// Matrix products: the output is cut into tiles, a task each, that the library computes on one thread; what follows the
// product (bias, GELU) is done while the tile is still in the cache.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gemm.cc"
#include <hwy/foreach_target.h>

#include "ink/cpu/sgemm.h"
#include "ink/cpu/simd-inl.h"
#include "ink/ops/check_args.h"

#ifndef INK_CPU_TILE_
#define INK_CPU_TILE_
namespace ink::cpu {
// Rows [m, m + rows) and columns [n, n + cols) of the output.
struct Tile {
  int64_t m, n, rows, cols;
};
}  // namespace ink::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// Finishes a tile whose product lies in out, or in gelu_in where that is given.
void finish_tile(const Gemm& a, const Tile& tile) {
  const int64_t N = a.out.cols();
  for (int64_t m = tile.m; m < tile.m + tile.rows; ++m) {
    const int64_t start = m * N + tile.n;
    float* out = a.out.f32() + start;
    const float* bias = a.bias ? a.bias.f32() + tile.n : nullptr;
    if (a.gelu_in) {
      float* in = a.gelu_in.f32() + start;
      for_vectors(tile.cols, [&](auto d, int64_t i) HWY_ATTR {
        auto x = hn::LoadU(d, in + i);
        if (bias != nullptr) x = hn::Add(x, hn::LoadU(d, bias + i));
        hn::StoreU(x, d, in + i);
        hn::StoreU(gelu_vector(d, x), d, out + i);
      });
    } else if (a.dgelu_in) {
      const float* in = a.dgelu_in.f32() + start;
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

// out[i] += Σ_k a[k·stride + i] for i in [0, n). Sums of 64 rows first: the rounding error stays small.
void add_column_sums(float* out, const float* a, int64_t rows, int64_t stride, int64_t n) {
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

HWY_EXPORT(finish_tile);
HWY_EXPORT(add_column_sums);

namespace {

// How an output is cut. Large tiles spend the least on packing; a dozen of them keep several threads busy. K is never
// cut: a sum has one order.
struct Tiling {
  int64_t m_tiles, n_tiles, m_step, n_step;

  Tiling(int64_t m, int64_t n) {
    constexpr int64_t kLargest = 384, kMany = 8, kFew = 4;
    m_step = even(m, kLargest);
    n_step = even(n, kLargest);
    while (true) {
      m_tiles = parts(m, m_step);
      n_tiles = parts(n, n_step);
      const int64_t tiles = m_tiles * n_tiles, m_edge = std::min(m, m_step), n_edge = std::min(n, n_step);
      const int64_t edge = std::max(m_edge, n_edge);
      if (tiles >= kMany || edge < 128 || (tiles >= kFew && edge < 256)) return;
      (n_edge >= m_edge ? n_step : m_step) = even(edge, parts(edge, 2));
    }
  }

  static int64_t parts(int64_t size, int64_t step) { return (size + step - 1) / step; }
  // Equal steps of about at most largest, in whole vectors.
  static int64_t even(int64_t size, int64_t largest) {
    return parts(parts(size, std::max<int64_t>(1, parts(size, largest))), 16) * 16;
  }
};

}  // namespace

void gemm(ThreadPool& pool, const Gemm& a) {
  const int64_t M = dims_of(a).m, N = dims_of(a).n, K = dims_of(a).k;
  const Tiling tiling(M, N);
  const int64_t lda = a.a.cols(), ldb = a.b.cols();
  const bool finish = a.bias || a.gelu_in || a.dgelu_in;
  float* product = a.gelu_in ? a.gelu_in.f32() : a.out.f32();
  pool.run(tiling.m_tiles * tiling.n_tiles, [&](int64_t task) {
    // Neighbouring tasks share a column of tiles: in the forward pass that is the larger matrix, the weight.
    const int64_t i = task % tiling.m_tiles, j = task / tiling.m_tiles;
    const int64_t m = i * tiling.m_step, n = j * tiling.n_step;
    const Tile tile{.m = m, .n = n, .rows = std::min(tiling.m_step, M - m), .cols = std::min(tiling.n_step, N - n)};
    sgemm({.a = a.a.f32() + (a.trans_a ? m : m * lda),
           .b = a.b.f32() + (a.trans_b ? n * ldb : n),
           .c = product + m * N + n,
           .m = tile.rows,
           .n = tile.cols,
           .k = K,
           .lda = lda,
           .ldb = ldb,
           .ldc = N,
           .trans_a = a.trans_a,
           .trans_b = a.trans_b,
           .accumulate = a.accumulate});
    if (finish) HWY_DYNAMIC_DISPATCH(finish_tile)(a, tile);
    if (a.dbias) {  // each tile of a row sums its share of the row's columns of a
      const int64_t begin = tile.rows * j / tiling.n_tiles, end = tile.rows * (j + 1) / tiling.n_tiles;
      HWY_DYNAMIC_DISPATCH(add_column_sums)(a.dbias.f32() + m + begin, a.a.f32() + m + begin, K, lda, end - begin);
    }
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
