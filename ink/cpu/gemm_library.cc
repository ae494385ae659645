// Matrix products by a library: the output is cut into tiles, a task each, that the library computes on one thread.
#include <algorithm>

#include "ink/cpu/gemm_finish.h"
#include "ink/cpu/kernels.h"
#include "ink/cpu/sgemm.h"
#include "ink/ops/check_args.h"

namespace ink::cpu {

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

void gemm_by_library(ThreadPool& pool, const SgemmLibrary& library, const Gemm& a) {
  const int64_t M = dims_of(a).m, N = dims_of(a).n, K = dims_of(a).k;
  const Tiling tiling(M, N);
  const int64_t lda = a.a.cols(), ldb = a.b.cols();
  float* product = a.gelu_in ? a.gelu_in.f32() : a.out.f32();
  pool.run(tiling.m_tiles * tiling.n_tiles, [&](int64_t task) {
    // Neighbouring tasks share a column of tiles: in the forward pass that is the larger matrix, the weight.
    const int64_t i = task % tiling.m_tiles, j = task / tiling.m_tiles;
    const int64_t m = i * tiling.m_step, n = j * tiling.n_step;
    const Tile tile{.m = m, .n = n, .rows = std::min(tiling.m_step, M - m), .cols = std::min(tiling.n_step, N - n)};
    library.sgemm({.a = a.a.f32() + (a.trans_a ? m : m * lda),
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
    finish_tile(a, tile);
    if (a.dbias) {  // each tile of a row sums its share of the row's columns of a
      const int64_t begin = tile.rows * j / tiling.n_tiles, end = tile.rows * (j + 1) / tiling.n_tiles;
      add_column_sums(a.dbias.f32() + m + begin, a.a.f32() + m + begin, K, lda, end - begin);
    }
  });
}

}  // namespace ink::cpu
