// Matrix products with few rows of a, where memory sets the pace: b is read once, as it lies there, and multiplied on
// the way, while what comes next is fetched. A sum is the same chain of multiply-adds as in gemm.cc, cut at the same
// depths: a row has the same bits here and there.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gemm_few_rows.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "ink/cpu/gemm_blocks.h"
#include "ink/cpu/gemm_finish.h"
#include "ink/cpu/simd-inl.h"
#include "ink/ops/check_args.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

constexpr int64_t kGroup = 2 * kLanes;  // columns of out that are computed together: two chains hide the latency of one
constexpr int64_t kRowsAtOnce = 4;      // of a

// f.operator()<R>(m) for R rows from m on, until all m_end are done.
template <class F>
HWY_INLINE void for_rows(int64_t m_end, const F& f) {
  int64_t m = 0;
  for (; m + kRowsAtOnce <= m_end; m += kRowsAtOnce) f.template operator()<kRowsAtOnce>(m);
  if (m_end - m == 3) f.template operator()<3>(m);
  if (m_end - m == 2) f.template operator()<2>(m);
  if (m_end - m == 1) f.template operator()<1>(m);
}

// sums(R,kGroup) += a(R,depth) · b(depth,kGroup), rows of a lda apart.
template <int64_t R>
HWY_INLINE void add_products(const float* a, int64_t lda, int64_t depth, const float* b, float* sums) {
  const Full d;
  hn::Vec<Full> sum[R][2];
  HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) {
    HWY_UNROLL(2) for (int v = 0; v < 2; ++v) sum[r][v] = hn::Load(d, sums + r * kGroup + v * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    const auto b0 = hn::Load(d, b + k * kGroup), b1 = hn::Load(d, b + k * kGroup + kLanes);
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) {
      const auto factor = hn::Set(d, a[r * lda + k]);
      sum[r][0] = hn::MulAdd(factor, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(factor, b1, sum[r][1]);
    }
  }
  HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) {
    HWY_UNROLL(2) for (int v = 0; v < 2; ++v) hn::Store(sum[r][v], d, sums + r * kGroup + v * kLanes);
  }
}

// c = sums, or c += sums: n elements.
HWY_INLINE void store_sums(const float* sums, float* c, int64_t n, bool add) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto sum = hn::LoadU(d, sums + i);
    hn::StoreU(add ? hn::Add(hn::LoadU(d, c + i), sum) : sum, d, c + i);
  });
}

// Where b's rows are columns of op(b): squares of them are turned in registers. Columns [n_begin, n_end) of out.
template <class T>
void multiply_rows(const Gemm& g, const T* b, int64_t k_block, int64_t n_begin, int64_t n_end) {
  constexpr int64_t kSteps = 16;  // squares that are fetched ahead
  const int64_t M = g.out.rows(), N = g.out.cols(), K = g.a.cols();
  float* const product = (g.gelu_in ? g.gelu_in : g.out).f32();
  HWY_ALIGN float square[kLanes * kGroup] = {};
  HWY_ALIGN float sums[kMostFewRows * kGroup];
  int64_t ahead_n = n_begin, ahead_k = kSteps * kLanes;
  for (int64_t n = n_begin; n < n_end; n += kGroup) {
    const int64_t rows = std::min(kGroup, n_end - n);
    for (int64_t k = 0; k < K; k += k_block) {
      const int64_t k_end = std::min(k + k_block, K);
      std::fill_n(sums, M * kGroup, 0.0f);
      for (int64_t i = k; i < k_end; i += kLanes, ahead_k += kLanes) {
        for (; ahead_k >= K; ahead_k -= K) ahead_n += kGroup;
        if (ahead_n + kGroup <= n_end) {
          for (int64_t r = 0; r < kGroup; ++r) __builtin_prefetch(b + (ahead_n + r) * K + ahead_k);
        }
        const int64_t depth = std::min(kLanes, k_end - i);
        if (rows == kGroup && depth == kLanes) {
          transpose(b + n * K + i, kGroup, kLanes, K, square, kGroup);
        } else {
          transpose(b + n * K + i, rows, depth, K, square, kGroup);
        }
        for_rows(M, [&]<int64_t R>(int64_t m)
                        HWY_ATTR { add_products<R>(g.a.f32() + m * K + i, K, depth, square, sums + m * kGroup); });
      }
      for (int64_t m = 0; m < M; ++m) store_sums(sums + m * kGroup, product + m * N + n, rows, k > 0);
    }
  }
  finish_tile(g, {.m = 0, .n = n_begin, .rows = M, .cols = n_end - n_begin});
}

// sums(R,n) += a(R,Depth) · b(Depth,n), rows of a, b and sums lda, ldb and ld_sums apart.
template <int64_t R, int64_t Depth, class T>
HWY_INLINE void add_row_products(const float* a, int64_t lda, const T* b, int64_t ldb, int64_t n, float* sums,
                                 int64_t ld_sums) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::Vec<decltype(d)> sum[R];
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) sum[r] = hn::LoadU(d, sums + r * ld_sums + i);
    HWY_UNROLL(8) for (int64_t k = 0; k < Depth; ++k) {
      const auto row = load_floats(d, b + k * ldb + i);
      HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) sum[r] = hn::MulAdd(hn::Set(d, a[r * lda + k]), row, sum[r]);
    }
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) hn::StoreU(sum[r], d, sums + r * ld_sums + i);
  });
}

// Where b's rows are rows of op(b): a few of them at a time, along all columns of the task. sums: M rows of them.
template <class T>
void multiply_columns(const Gemm& g, const T* b, int64_t k_block, int64_t n_begin, int64_t n_end, float* sums) {
  constexpr int64_t kDepth = 8, kPiece = 512;  // rows, and columns of them that stay in the nearest cache
  const int64_t M = g.out.rows(), N = g.out.cols(), K = g.a.cols(), cols = n_end - n_begin;
  float* const product = (g.gelu_in ? g.gelu_in : g.out).f32();
  for (int64_t k = 0; k < K; k += k_block) {
    const int64_t k_end = std::min(k + k_block, K);
    std::fill_n(sums, M * cols, 0.0f);
    for (int64_t i = k; i < k_end;) {
      const int64_t depth = k_end - i >= kDepth ? kDepth : 1;
      for (int64_t n = 0; n < cols; n += kPiece) {
        const int64_t width = std::min(kPiece, cols - n);
        for_rows(M, [&]<int64_t R>(int64_t m) HWY_ATTR {
          const auto add = depth == kDepth ? add_row_products<R, kDepth, T> : add_row_products<R, 1, T>;
          add(g.a.f32() + m * K + i, K, b + i * N + n_begin + n, N, width, sums + m * cols + n, cols);
        });
      }
      i += depth;
    }
    for (int64_t m = 0; m < M; ++m) store_sums(sums + m * cols, product + m * N + n_begin, cols, k > 0);
  }
  finish_tile(g, {.m = 0, .n = n_begin, .rows = M, .cols = cols});
}

int64_t few_rows_group() { return kGroup; }

void multiply_few_rows(const Gemm& g, int64_t n_begin, int64_t n_end, float* sums) {
  const int64_t k_block = GemmBlocks::depth_of(g.a.cols());
  with_elements(g.b.dtype, g.b.data, [&]<class T>(const T* b) HWY_ATTR {
    if (g.trans_b) {
      multiply_rows(g, b, k_block, n_begin, n_end);
    } else {
      multiply_columns(g, b, k_block, n_begin, n_end, sums);
    }
  });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(few_rows_group);
HWY_EXPORT(multiply_few_rows);

bool has_few_rows(const Gemm& g) { return !g.trans_a && !g.accumulate && !g.dgelu_in && g.out.rows() <= kMostFewRows; }

void gemm_few_rows(ThreadPool& pool, GemmEngine& engine, const Gemm& g) {
  constexpr int64_t kTasks = 4;  // of a thread: a late one delays all
  const int64_t M = g.out.rows(), N = g.out.cols();
  // Whole cache lines of columns, and whole groups.
  const int64_t unit = std::max<int64_t>(32, HWY_DYNAMIC_DISPATCH(few_rows_group)());
  const int64_t step = even_step(N, divide_up(N, kTasks * pool.threads()), unit);
  if (!g.trans_b) engine.b.reserve(M * step);
  pool.run_range(N, step, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease lease(engine.b);
    HWY_DYNAMIC_DISPATCH(multiply_few_rows)(g, begin, end, lease.floats());
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
