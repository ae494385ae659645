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

constexpr int64_t kRowsAtOnce = 4;  // of a
constexpr int64_t kLine = 64;       // bytes that are fetched at a time

// f.operator()<R>(m) for R rows from m on, until all m_end are done.
template <class F>
HWY_INLINE void for_rows(int64_t m_end, const F& f) {
  int64_t m = 0;
  for (; m + kRowsAtOnce <= m_end; m += kRowsAtOnce) f.template operator()<kRowsAtOnce>(m);
  if (m_end - m == 3) f.template operator()<3>(m);
  if (m_end - m == 2) f.template operator()<2>(m);
  if (m_end - m == 1) f.template operator()<1>(m);
}

// sums(M,kLanes) += a(M,Depth) · b(Depth,kLanes), rows of a lda apart, a row of b in each vector.
template <int64_t Depth>
HWY_INLINE void add_products(int64_t M, const float* a, int64_t lda, const hn::Vec<Full> (&b)[Depth], float* sums) {
  const Full d;
  for_rows(M, [&]<int64_t R>(int64_t m) HWY_ATTR {
    hn::Vec<Full> sum[R];
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) sum[r] = hn::Load(d, sums + (m + r) * kLanes);
    HWY_UNROLL(16) for (int64_t k = 0; k < Depth; ++k) {
      HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) {
        sum[r] = hn::MulAdd(hn::Set(d, a[(m + r) * lda + k]), b[k], sum[r]);
      }
    }
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) hn::Store(sum[r], d, sums + (m + r) * kLanes);
  });
}

// c = sums, or c += sums: n elements.
HWY_INLINE void store_sums(const float* sums, float* c, int64_t n, bool add) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto sum = hn::LoadU(d, sums + i);
    hn::StoreU(add ? hn::Add(hn::LoadU(d, c + i), sum) : sum, d, c + i);
  });
}

// Rows of b that are multiplied together: two chains of sums hide the latency of one.
constexpr int64_t kGroups = 2, kGroupRows = kGroups * kLanes;

// A block of depths [k, k_end) of the rows of b from n on, cols of them.
template <class T>
void add_rows(const Gemm& g, const T* b, int64_t n, int64_t cols, int64_t k, int64_t k_end, bool more,
              float (&sums)[kGroups][kMostFewRows * kLanes]) {
  constexpr int64_t kDepth = kSquareDepth<T>, kAhead = 256 / sizeof(T);  // elements of a row
  const int64_t M = g.out.rows(), K = g.a.cols();
  const float* a = g.a.f32();
  for (; cols == kGroupRows && k + kDepth <= k_end; k += kDepth) {
    const bool here = k + kAhead < K;  // else the place is in the next rows
    if (k * sizeof(T) % kLine == 0 && (here || more)) {
      const T* next = b + n * K + k + kAhead + (here ? 0 : (kGroupRows - 1) * K);
      for (int64_t r = 0; r < kGroupRows; ++r) __builtin_prefetch(next + r * K);
    }
    HWY_UNROLL(2) for (int64_t group = 0; group < kGroups; ++group) {
      hn::Vec<Full> square[kDepth];
      load_square(b + (n + group * kLanes) * K + k, K, square);
      add_products(M, a + k, K, square, sums[group]);
    }
  }
  for (; k < k_end; ++k) {  // what does not fill a square
    HWY_ALIGN float column[kGroupRows] = {};
    for (int64_t r = 0; r < cols; ++r) column[r] = widen(b[(n + r) * K + k]);
    for (int64_t group = 0; group < kGroups; ++group) {
      const hn::Vec<Full> vector[1] = {hn::Load(Full(), column + group * kLanes)};
      add_products(M, a + k, K, vector, sums[group]);
    }
  }
}

// Where b's rows are columns of op(b): squares of them are turned in registers. Columns [n_begin, n_end) of out.
template <class T>
void multiply_rows(const Gemm& g, const T* b, int64_t k_block, int64_t n_begin, int64_t n_end) {
  const int64_t M = g.out.rows(), N = g.out.cols(), K = g.a.cols();
  float* const product = (g.gelu_in ? g.gelu_in : g.out).f32();
  HWY_ALIGN float sums[kGroups][kMostFewRows * kLanes];
  for (int64_t n = n_begin; n < n_end; n += kGroupRows) {
    const int64_t cols = std::min(kGroupRows, n_end - n);
    for (int64_t k = 0; k < K; k += k_block) {
      for (auto& group : sums) std::fill_n(group, M * kLanes, 0.0f);
      add_rows(g, b, n, cols, k, std::min(k + k_block, K), n + 2 * kGroupRows <= n_end, sums);
      for (int64_t at = 0; at < cols; at += kLanes) {
        for (int64_t m = 0; m < M; ++m) {
          store_sums(sums[at / kLanes] + m * kLanes, product + m * N + n + at, std::min(kLanes, cols - at), k > 0);
        }
      }
    }
  }
  finish_tile(g, {.m = 0, .n = n_begin, .rows = M, .cols = n_end - n_begin});
}

// sums(R,n) += a(R,Depth) · b(Depth,n), rows of a, b and sums lda, ldb and ld_sums apart. The next rows of b are
// fetched.
template <int64_t R, int64_t Depth, class T>
HWY_INLINE void add_row_products(const float* a, int64_t lda, const T* b, int64_t ldb, int64_t n, float* sums,
                                 int64_t ld_sums) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::Vec<decltype(d)> sum[R];
    HWY_UNROLL(4) for (int64_t r = 0; r < R; ++r) sum[r] = hn::LoadU(d, sums + r * ld_sums + i);
    HWY_UNROLL(8) for (int64_t k = 0; k < Depth; ++k) {
      const auto row = load_floats(d, b + k * ldb + i);
      if (i * sizeof(T) % kLine == 0)
        fetch_line(reinterpret_cast<uintptr_t>(b + k * ldb + i) + Depth * ldb * sizeof(T));
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

HWY_EXPORT(multiply_few_rows);

bool has_few_rows(const Gemm& g) { return !g.trans_a && !g.accumulate && !g.dgelu_in && g.out.rows() <= kMostFewRows; }

void gemm_few_rows(ThreadPool& pool, GemmEngine& engine, const Gemm& g) {
  // Where rows are cut, the processor is slow to see where they go on: few tasks, of whole cache lines and groups of
  // rows.
  constexpr int64_t kTasks = 2, kUnit = 32;
  const int64_t M = g.out.rows(), N = g.out.cols(), tasks = (g.trans_b ? kTasks : 1) * pool.threads();
  const int64_t step = even_step(N, divide_up(N, tasks), kUnit);
  if (!g.trans_b) engine.b.reserve(M * step);
  pool.run_range(N, step, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease lease(engine.b);
    HWY_DYNAMIC_DISPATCH(multiply_few_rows)(g, begin, end, lease.floats());
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
