// Attention of new rows to the key-value cache, page by page. Keys lie transposed in their pages, so that the scores of
// a page's positions are the lanes of vectors; the scores of all positions are kept until their maximum is known.
//
// Rows of one sequence are taken a few at a time: they share what is loaded of the cache. What is computed for a row is
// the same chain of operations however many there are.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/cached_attention.cc"
#include <hwy/foreach_target.h>

#include <cmath>
#include <limits>

#include "ink/cpu/small_gemm-inl.h"

#ifndef INK_CPU_CACHED_ATTENTION_ROWS_
#define INK_CPU_CACHED_ATTENTION_ROWS_
namespace ink::cpu {

constexpr int64_t kRowsAtOnce = 12;

// Rows [begin, begin + count) of one sequence, for one head.
struct CachedRows {
  const CachedAttention& a;
  int64_t begin, count, head;

  int64_t head_size() const { return a.out.cols() / a.heads; }
  int64_t position(int64_t row) const { return a.positions.as<int32_t>()[begin + row]; }
  int64_t page(int64_t index) const {
    return a.table.as<int32_t>()[a.sequences.as<int32_t>()[begin] * a.table.cols() + index];
  }
  // A page's keys (HS,kPagePositions) or values (kPagePositions,HS).
  const float* of_page(const Tensor& pages, int64_t index) const {
    return pages.f32() + (page(index) * a.heads + head) * head_size() * kPagePositions;
  }
};

}  // namespace ink::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// scores (size) become exp(score · scale - max), those after last 0. Returns their sum.
float softmax_row(float* scores, int64_t last, int64_t size, float scale) {
  std::fill(scores + last + 1, scores + size, -std::numeric_limits<float>::infinity());
  const Full d;
  static_assert(kPagePositions % kLanes == 0);
  auto largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t u = 0; u < size; u += kLanes) largest = hn::Max(largest, hn::LoadU(d, scores + u));
  const auto max = hn::MaxOfLanes(d, largest);
  return sum_vectors(size, [&](auto lanes, int64_t u) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(lanes, scores + u), hn::Set(lanes, hn::GetLane(max)));
    const auto p = exp_vector(lanes, hn::Mul(centred, hn::Set(lanes, scale)));
    hn::StoreU(p, lanes, scores + u);
    return p;
  });
}

// scratch: kRowsAtOnce · (positions of the pages) floats.
void attend_rows(const CachedRows& rows, float* scratch) {
  const CachedAttention& a = rows.a;
  const int64_t C = a.out.cols(), HS = rows.head_size(), last = rows.position(rows.count - 1);
  const int64_t pages = last / kPagePositions + 1, size = pages * kPagePositions;
  const View q = {.data = a.qkv.f32() + rows.begin * 3 * C + rows.head * HS, .row = 3 * C, .col = 1};
  for (int64_t i = 0; i < pages; ++i) {
    multiply<Write::set>(rows.count, kPagePositions, HS, q, rows.of_page(a.k_pages, i), kPagePositions,
                         scratch + i * kPagePositions, size);
  }
  float sums[kRowsAtOnce];
  const float scale = 1 / std::sqrt(static_cast<float>(HS));
  for (int64_t r = 0; r < rows.count; ++r) {
    // A row's own pages only: what a longer neighbour needs beyond them must not change its sum.
    const int64_t own = (rows.position(r) / kPagePositions + 1) * kPagePositions;
    sums[r] = softmax_row(scratch + r * size, rows.position(r), own, scale);
    std::fill(scratch + r * size + own, scratch + (r + 1) * size, 0.0f);
  }
  float* out = a.out.f32() + rows.begin * C + rows.head * HS;
  for (int64_t r = 0; r < rows.count; ++r) std::fill(out + r * C, out + r * C + HS, 0.0f);
  for (int64_t i = 0; i < pages; ++i) {
    const int64_t start = i * kPagePositions, keys = std::min(kPagePositions, last + 1 - start);
    multiply<Write::add>(rows.count, HS, keys, {.data = scratch + start, .row = size, .col = 1},
                         rows.of_page(a.v_pages, i), HS, out, C);
  }
  for (int64_t r = 0; r < rows.count; ++r) scale_row(out + r * C, HS, 1 / sums[r]);
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(attend_rows);

namespace {

// Puts keys and values of a row where they belong.
void cache_row(const CachedAttention& a, int64_t row) {
  const int64_t C = a.out.cols(), HS = C / a.heads, P = kPagePositions;
  const int64_t position = a.positions.as<int32_t>()[row], sequence = a.sequences.as<int32_t>()[row];
  const int64_t page = a.table.as<int32_t>()[sequence * a.table.cols() + position / P];
  const float* k = a.qkv.f32() + row * 3 * C + C;
  for (int64_t h = 0; h < a.heads; ++h) {
    float* k_page = a.k_pages.f32() + (page * a.heads + h) * HS * P + position % P;
    float* v_page = a.v_pages.f32() + (page * a.heads + h) * HS * P + position % P * HS;
    for (int64_t i = 0; i < HS; ++i) k_page[i * P] = k[h * HS + i];
    std::copy_n(k + C + h * HS, HS, v_page);
  }
}

// Where the group of rows that starts at row ends: rows of one sequence, a few.
int64_t end_of_group(const CachedAttention& a, int64_t row) {
  const std::span<const int32_t> sequences = a.sequences.span<int32_t>();
  int64_t end = row + 1;
  while (end < a.out.rows() && end - row < kRowsAtOnce &&
         sequences[static_cast<size_t>(end)] == sequences[static_cast<size_t>(row)]) {
    ++end;
  }
  return end;
}

}  // namespace

void cached_attention(ThreadPool& pool, Scratch& scratch, ScratchSlots& slots, const CachedAttention& a) {
  const int64_t R = a.out.rows();
  pool.run_range(R, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) cache_row(a, row);
  });
  auto* groups = scratch.get<int64_t>(static_cast<size_t>(R + 1));
  int64_t count = 0;
  for (int64_t row = groups[0] = 0; row < R; groups[++count] = row) row = end_of_group(a, row);
  slots.reserve(static_cast<size_t>(kRowsAtOnce * a.table.cols() * kPagePositions));
  pool.run(count * a.heads, [&](int64_t task) {
    const int64_t group = count - 1 - task / a.heads;  // the later rows of a sequence have more to do
    const ScratchSlots::Lease lease(slots);
    HWY_DYNAMIC_DISPATCH(attend_rows)
    ({.a = a, .begin = groups[group], .count = groups[group + 1] - groups[group], .head = task % a.heads},
     lease.floats());
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
