// Attention in blocks of queries by blocks of keys, with the softmax computed as the blocks go by (Milakov, Gimelshein
// 2018; Dao et al. 2022). Blocks above the diagonal are skipped.
//
// Blocks of scores are kept transposed, keys by queries: the queries of a block lie side by side in vectors, so maxima
// and sums over the keys need no operations across lanes, and only the queries have to be transposed, once a block.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/attention.cc"
#include <hwy/foreach_target.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "ink/cpu/simd-inl.h"

#ifndef INK_CPU_ATTENTION_BLOCK_
#define INK_CPU_ATTENTION_BLOCK_
namespace ink::cpu {

constexpr int64_t kBlock = 64;  // queries, and keys, of a block

// One head of one sequence: pointers to its first row, and the distances between rows.
struct Head {
  const float *q, *k, *v;  // rows 3C apart
  float* lse;              // (T)
  int64_t T, C, HS, row;   // row = 3C
  float scale;

  Head(const Tensor& qkv, const Tensor& lse_tensor, int heads, int64_t index) {
    T = qkv.shape[1];
    C = qkv.shape[2] / 3;
    HS = C / heads;
    row = 3 * C;
    const int64_t b = index / heads, h = index % heads;
    q = qkv.f32() + b * T * row + h * HS;
    k = q + C;
    v = q + 2 * C;
    lse = lse_tensor.f32() + index * T;
    scale = 1 / std::sqrt(static_cast<float>(HS));
  }
};

// A matrix with any distance between rows and between columns, to be read.
struct View {
  const float* data;
  int64_t row, col;
};

}  // namespace ink::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// f(d, i) over [0, kBlock), which is a whole number of vectors.
template <class F>
HWY_INLINE void for_block(const F& f) {
  const Full d;
  for (int64_t i = 0; i < kBlock; i += static_cast<int64_t>(hn::Lanes(d))) f(d, i);
}

// c(R, V vectors) += a(R,k) · b(k, V vectors), with the sums held in registers.
template <int R, int V, class D>
HWY_INLINE void multiply_add_tile(D d, int64_t k, View a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = hn::LoadU(d, c + r * ldc + v * lanes);
  }
  for (int64_t i = 0; i < k; ++i) {
    hn::Vec<D> row[V];
    for (int v = 0; v < V; ++v) row[v] = hn::LoadU(d, b + i * ldb + v * lanes);
    for (int r = 0; r < R; ++r) {
      const auto factor = hn::Set(d, a.data[r * a.row + i * a.col]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, c + r * ldc + v * lanes);
  }
}

template <int V, class D>
HWY_NOINLINE void multiply_add_columns(D d, int64_t m, int64_t k, View a, const float* b, int64_t ldb, float* c,
                                       int64_t ldc) {
  int64_t r = 0;
  for (; r + 4 <= m; r += 4) {
    multiply_add_tile<4, V>(d, k, {a.data + r * a.row, a.row, a.col}, b, ldb, c + r * ldc, ldc);
  }
  for (; r < m; ++r) multiply_add_tile<1, V>(d, k, {a.data + r * a.row, a.row, a.col}, b, ldb, c + r * ldc, ldc);
}

// c(m,n) += a(m,k) · b(k,n): small matrices that lie in the cache.
void multiply_add(int64_t m, int64_t n, int64_t k, View a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  const Full d;
  const hn::CappedTag<float, 4> quarter;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d)), few = static_cast<int64_t>(hn::Lanes(quarter));
  int64_t i = 0;
  for (; n - i >= 4 * lanes; i += 4 * lanes) multiply_add_columns<4>(d, m, k, a, b + i, ldb, c + i, ldc);
  for (; n - i >= lanes; i += lanes) multiply_add_columns<1>(d, m, k, a, b + i, ldb, c + i, ldc);
  for (; n - i >= few; i += few) multiply_add_columns<1>(quarter, m, k, a, b + i, ldb, c + i, ldc);
  for (; i < n; ++i) multiply_add_columns<1>(Single(), m, k, a, b + i, ldb, c + i, ldc);
}

// out(HS, kBlock) = in(rows, HS)ᵀ · factor; columns beyond rows are zero.
void transpose_block(float* out, const float* in, int64_t rows, int64_t stride, int64_t HS, float factor) {
  std::fill(out, out + HS * kBlock, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < HS; ++i) out[i * kBlock + r] = in[r * stride + i] * factor;
  }
}

// Scores above the diagonal of a diagonal block (keys by queries) become -inf.
void mask_block(float* scores, int64_t keys) {
  for (int64_t u = 1; u < keys; ++u) {
    std::fill(scores + u * kBlock, scores + u * kBlock + u, -std::numeric_limits<float>::infinity());
  }
}

// Takes a block of scores (keys, kBlock) into the running softmax: scores become exp(score - max), max and sum (kBlock)
// are brought up to date, rescale (kBlock) is what earlier sums are to be multiplied by.
void softmax_block(float* scores, int64_t keys, float* max, float* sum, float* rescale) {
  for_block([&](auto d, int64_t i) HWY_ATTR {
    const auto old_max = hn::LoadU(d, max + i);
    auto new_max = old_max;
    for (int64_t u = 0; u < keys; ++u) new_max = hn::Max(new_max, hn::LoadU(d, scores + u * kBlock + i));
    const auto factor = exp_vector(d, hn::Sub(old_max, new_max));
    auto total = hn::Mul(hn::LoadU(d, sum + i), factor);
    for (int64_t u = 0; u < keys; ++u) {
      const auto p = exp_vector(d, hn::Sub(hn::LoadU(d, scores + u * kBlock + i), new_max));
      hn::StoreU(p, d, scores + u * kBlock + i);
      total = hn::Add(total, p);
    }
    hn::StoreU(new_max, d, max + i);
    hn::StoreU(total, d, sum + i);
    hn::StoreU(factor, d, rescale + i);
  });
}

void scale_row(float* x, int64_t n, float factor) {
  for_vectors(
      n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), d, x + i); });
}

// The queries [begin, begin + kBlock) of one head. out has its rows C apart. scratch: (HS + kBlock)·kBlock floats.
void attention_block(const Head& head, float* out, int64_t begin, float* scratch) {
  const auto [T, C, HS] = std::tuple(head.T, head.C, head.HS);
  const int64_t queries = std::min(kBlock, T - begin);
  float* q_transposed = scratch;
  float* scores = scratch + HS * kBlock;
  float max[kBlock], sum[kBlock], rescale[kBlock];
  std::fill(max, max + kBlock, -std::numeric_limits<float>::infinity());
  std::fill(sum, sum + kBlock, 0.0f);
  transpose_block(q_transposed, head.q + begin * head.row, queries, head.row, HS, head.scale);
  for (int64_t r = 0; r < queries; ++r) std::fill(out + (begin + r) * C, out + (begin + r) * C + HS, 0.0f);

  for (int64_t key = 0; key < begin + queries; key += kBlock) {
    const int64_t keys = std::min(kBlock, T - key);
    std::fill(scores, scores + keys * kBlock, 0.0f);
    multiply_add(keys, kBlock, HS, {head.k + key * head.row, head.row, 1}, q_transposed, kBlock, scores, kBlock);
    if (key == begin) mask_block(scores, keys);
    softmax_block(scores, keys, max, sum, rescale);
    if (key > 0) {
      for (int64_t r = 0; r < queries; ++r) scale_row(out + (begin + r) * C, HS, rescale[r]);
    }
    multiply_add(queries, HS, keys, {scores, 1, kBlock}, head.v + key * head.row, head.row, out + begin * C, C);
  }
  for (int64_t r = 0; r < queries; ++r) {
    scale_row(out + (begin + r) * C, HS, 1 / sum[r]);
    head.lse[begin + r] = max[r] + std::log(sum[r]);
  }
}

// scores (keys, kBlock) become p = exp(score - lse); dscores, arriving as dp = v·dout, become p · (dp - delta) · scale.
void softmax_backward_block(float* scores, float* dscores, int64_t keys, const float* lse, const float* delta,
                            float scale) {
  for (int64_t u = 0; u < keys; ++u) {
    float* s = scores + u * kBlock;
    float* ds = dscores + u * kBlock;
    for_block([&](auto d, int64_t i) HWY_ATTR {
      const auto p = exp_vector(d, hn::Sub(hn::LoadU(d, s + i), hn::LoadU(d, lse + i)));
      const auto centred = hn::Sub(hn::LoadU(d, ds + i), hn::LoadU(d, delta + i));
      hn::StoreU(p, d, s + i);
      hn::StoreU(hn::Mul(hn::Mul(p, centred), hn::Set(d, scale)), d, ds + i);
    });
  }
}

// All of one head: the gradients of k and v gather what every block of queries adds. dq, dk, dv have their rows 3C
// apart, dout and out theirs C apart. scratch: (2·HS + 2·kBlock)·kBlock floats.
void attention_backward_head(const Head& head, float* dq, const float* dout, const float* out, float* delta,
                             float* scratch) {
  const auto [T, C, HS, row] = std::tuple(head.T, head.C, head.HS, head.row);
  float* dk = dq + C;
  float* dv = dq + 2 * C;
  float* q_transposed = scratch;
  float* dout_transposed = q_transposed + HS * kBlock;
  float* scores = dout_transposed + HS * kBlock;
  float* dscores = scores + kBlock * kBlock;
  for (int64_t t = 0; t < T; ++t) {
    for (float* gradient : {dq, dk, dv}) std::fill(gradient + t * row, gradient + t * row + HS, 0.0f);
    const float* d_row = dout + t * C;
    const float* out_row = out + t * C;
    delta[t] = sum_vectors(
        HS, [&](auto d, int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, d_row + i), hn::LoadU(d, out_row + i)); });
  }
  for (int64_t begin = 0; begin < T; begin += kBlock) {
    const int64_t queries = std::min(kBlock, T - begin);
    float lse[kBlock] = {}, delta_block[kBlock] = {};
    std::copy_n(head.lse + begin, queries, lse);
    std::copy_n(delta + begin, queries, delta_block);
    transpose_block(q_transposed, head.q + begin * row, queries, row, HS, head.scale);
    transpose_block(dout_transposed, dout + begin * C, queries, C, HS, 1);
    for (int64_t key = 0; key < begin + queries; key += kBlock) {
      const int64_t keys = std::min(kBlock, T - key);
      std::fill(scores, scores + keys * kBlock, 0.0f);
      std::fill(dscores, dscores + keys * kBlock, 0.0f);
      multiply_add(keys, kBlock, HS, {head.k + key * row, row, 1}, q_transposed, kBlock, scores, kBlock);
      multiply_add(keys, kBlock, HS, {head.v + key * row, row, 1}, dout_transposed, kBlock, dscores, kBlock);
      if (key == begin) mask_block(scores, keys);
      softmax_backward_block(scores, dscores, keys, lse, delta_block, head.scale);
      multiply_add(keys, HS, queries, {scores, kBlock, 1}, dout + begin * C, C, dv + key * row, row);
      multiply_add(keys, HS, queries, {dscores, kBlock, 1}, head.q + begin * row, row, dk + key * row, row);
      multiply_add(queries, HS, keys, {dscores, 1, kBlock}, head.k + key * row, row, dq + begin * row, row);
    }
  }
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(attention_block);
HWY_EXPORT(attention_backward_head);

void attention(ThreadPool& pool, ScratchSlots& slots, const Attention& a) {
  const int64_t B = a.out.shape[0], T = a.out.shape[1], C = a.out.shape[2], HS = C / a.heads;
  const int64_t blocks = (T + kBlock - 1) / kBlock;
  slots.reserve((HS + kBlock) * kBlock);
  pool.run(B * a.heads * blocks, [&](int64_t task) {
    const ScratchSlots::Lease lease(slots);
    const int64_t index = task / blocks, block = blocks - 1 - task % blocks;  // the longest first
    const int64_t b = index / a.heads, h = index % a.heads;
    HWY_DYNAMIC_DISPATCH(attention_block)
    (Head(a.qkv, a.lse, a.heads, index), a.out.f32() + b * T * C + h * HS, block * kBlock, lease.floats());
  });
}

void attention_backward(ThreadPool& pool, ScratchSlots& slots, const AttentionBackward& a) {
  const int64_t B = a.out.shape[0], T = a.out.shape[1], C = a.out.shape[2], HS = C / a.heads;
  slots.reserve((2 * HS + 2 * kBlock) * kBlock);
  pool.run(B * a.heads, [&](int64_t index) {
    const ScratchSlots::Lease lease(slots);
    const int64_t b = index / a.heads, h = index % a.heads, start = b * T * C + h * HS;
    HWY_DYNAMIC_DISPATCH(attention_backward_head)
    (Head(a.qkv, a.lse, a.heads, index), a.dqkv.f32() + b * T * 3 * C + h * HS, a.dout.f32() + start,
     a.out.f32() + start, a.delta.f32() + index * T, lease.floats());
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
