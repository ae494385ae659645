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
#include <utility>

#include "ink/cpu/small_gemm-inl.h"

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

// out(HS, kBlock) = in(rows, HS)ᵀ · factor; columns beyond rows are zero.
void transpose_block(float* out, const float* in, int64_t rows, int64_t stride, int64_t HS, float factor) {
  transpose(in, rows, HS, stride, out, kBlock);
  for (int64_t i = 0; i < HS; ++i) {
    scale_row(out + i * kBlock, rows, factor);
    std::fill(out + i * kBlock + rows, out + (i + 1) * kBlock, 0.0f);
  }
}

// On the diagonal the later half of the keys concerns only the later half of the queries: a quarter of a block that is
// neither computed nor read. f(first key, keys, first query).
template <class F>
HWY_INLINE void for_key_parts(bool diagonal, int64_t keys, const F& f) {
  constexpr int64_t kHalf = kBlock / 2;
  if (!diagonal || keys <= kHalf) return f(0, keys, 0);
  f(0, kHalf, 0);
  f(kHalf, keys - kHalf, kHalf);
}

// The same by queries: f(first query, queries, keys).
template <class F>
HWY_INLINE void for_query_parts(bool diagonal, int64_t queries, int64_t keys, const F& f) {
  constexpr int64_t kHalf = kBlock / 2;
  if (!diagonal || queries <= kHalf) return f(0, queries, keys);
  f(0, kHalf, kHalf);
  f(kHalf, queries - kHalf, keys);
}

// scores (keys, kBlock) = in (keys, HS) · transposed (HS, kBlock).
void score_block(bool diagonal, int64_t keys, int64_t HS, const float* in, int64_t row, const float* transposed,
                 float* scores) {
  for_key_parts(diagonal, keys, [&](int64_t key, int64_t count, int64_t query) HWY_ATTR {
    multiply<Write::set>(count, kBlock - query, HS, {in + key * row, row, 1}, transposed + query, kBlock,
                         scores + key * kBlock + query, kBlock);
  });
}

// out (queries, HS) = scores (keys, kBlock)ᵀ · in (keys, HS), or += that.
template <Write W>
void sum_over_keys(bool diagonal, int64_t queries, int64_t keys, int64_t HS, const float* scores, const float* in,
                   float* out) {
  for_query_parts(diagonal, queries, keys, [&](int64_t query, int64_t count, int64_t depth) HWY_ATTR {
    multiply<W>(count, HS, depth, {scores + query, 1, kBlock}, in, HS, out + query * HS, HS);
  });
}

// out (keys, HS) += scores (keys, kBlock) · in (queries, HS), the rows of out a distance apart.
void sum_over_queries(bool diagonal, int64_t queries, int64_t keys, int64_t HS, const float* scores, const float* in,
                      float* out, int64_t row) {
  for_key_parts(diagonal, keys, [&](int64_t key, int64_t count, int64_t query) HWY_ATTR {
    multiply<Write::add>(count, HS, queries - query, {scores + key * kBlock + query, kBlock, 1}, in + query * HS, HS,
                         out + key * row, row);
  });
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

// The queries [begin, begin + kBlock) of one head. out has its rows C apart. scratch: (3·HS + kBlock)·kBlock floats.
void attention_block(const Head& head, float* out, int64_t begin, float* scratch) {
  const auto [T, C, HS] = std::tuple(head.T, head.C, head.HS);
  const int64_t queries = std::min(kBlock, T - begin);
  float* q_transposed = scratch;
  float* v = q_transposed + HS * kBlock;
  float* sums = v + HS * kBlock;
  float* scores = sums + HS * kBlock;
  float max[kBlock], sum[kBlock], rescale[kBlock];
  std::fill(max, max + kBlock, -std::numeric_limits<float>::infinity());
  std::fill(sum, sum + kBlock, 0.0f);
  transpose_block(q_transposed, head.q + begin * head.row, queries, head.row, HS, head.scale);

  for (int64_t key = 0; key < begin + queries; key += kBlock) {
    const int64_t keys = std::min(kBlock, T - key);
    const bool diagonal = key == begin;
    score_block(diagonal, keys, HS, head.k + key * head.row, head.row, q_transposed, scores);
    if (diagonal) mask_block(scores, keys);
    softmax_block(scores, keys, max, sum, rescale);
    copy_rows(v, head.v + key * head.row, keys, head.row, HS);
    if (key == 0) {
      sum_over_keys<Write::set>(diagonal, queries, keys, HS, scores, v, sums);
    } else {
      for (int64_t r = 0; r < queries; ++r) scale_row(sums + r * HS, HS, rescale[r]);
      sum_over_keys<Write::add>(diagonal, queries, keys, HS, scores, v, sums);
    }
  }
  for (int64_t r = 0; r < queries; ++r) {
    scale_row(sums + r * HS, HS, 1 / sum[r]);
    std::copy_n(sums + r * HS, HS, out + (begin + r) * C);
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
// apart, dout and out theirs C apart. scratch: (6·HS + 2·kBlock)·kBlock floats.
void attention_backward_head(const Head& head, float* dq, const float* dout, const float* out, float* delta,
                             float* scratch) {
  const auto [T, C, HS, row] = std::tuple(head.T, head.C, head.HS, head.row);
  float* dk = dq + C;
  float* dv = dq + 2 * C;
  auto take = [next = scratch](int64_t rows) mutable { return std::exchange(next, next + rows * kBlock); };
  float *q = take(HS), *q_transposed = take(HS), *dout_block = take(HS), *dout_transposed = take(HS);
  float *k = take(HS), *dq_block = take(HS), *scores = take(kBlock), *dscores = take(kBlock);
  for (int64_t t = 0; t < T; ++t) {
    for (float* gradient : {dk, dv}) std::fill(gradient + t * row, gradient + t * row + HS, 0.0f);
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
    copy_rows(q, head.q + begin * row, queries, row, HS);
    copy_rows(dout_block, dout + begin * C, queries, C, HS);
    transpose_block(q_transposed, q, queries, HS, HS, head.scale);
    transpose_block(dout_transposed, dout_block, queries, HS, HS, 1);
    std::fill(dq_block, dq_block + queries * HS, 0.0f);
    for (int64_t key = 0; key < begin + queries; key += kBlock) {
      const int64_t keys = std::min(kBlock, T - key);
      const bool diagonal = key == begin;
      copy_rows(k, head.k + key * row, keys, row, HS);
      score_block(diagonal, keys, HS, k, HS, q_transposed, scores);
      score_block(diagonal, keys, HS, head.v + key * row, row, dout_transposed, dscores);
      if (diagonal) mask_block(scores, keys);
      softmax_backward_block(scores, dscores, keys, lse, delta_block, head.scale);
      sum_over_queries(diagonal, queries, keys, HS, scores, dout_block, dv + key * row, row);
      sum_over_queries(diagonal, queries, keys, HS, dscores, q, dk + key * row, row);
      sum_over_keys<Write::add>(diagonal, queries, keys, HS, dscores, k, dq_block);
    }
    for (int64_t r = 0; r < queries; ++r) std::copy_n(dq_block + r * HS, HS, dq + (begin + r) * row);
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
  slots.reserve((3 * HS + kBlock) * kBlock);
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
  slots.reserve((6 * HS + 2 * kBlock) * kBlock);
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
