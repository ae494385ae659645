// The last product, the loss and their gradients, in chunks of as many rows as the caller's scratch holds.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/classifier.cc"
#include <hwy/foreach_target.h>

#include <cmath>
#include <limits>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

float max_of(const float* x, int64_t n) {
  const Full d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  float max = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  if (n >= lanes) {
    auto maxima = hn::LoadU(d, x);
    for (i = lanes; i + lanes <= n; i += lanes) maxima = hn::Max(maxima, hn::LoadU(d, x + i));
    max = hn::GetLane(hn::MaxOfLanes(d, maxima));
  }
  for (; i < n; ++i) max = std::max(max, x[i]);
  return max;
}

// The loss of one row of logits; with gradient the row becomes dlogits, 0 in [vocab, padded).
float softmax_row(float* logits, int64_t vocab, int64_t padded, int32_t target, float dloss, bool gradient) {
  constexpr int64_t kPiece = 4096;  // summed in float, then together in double
  const float max = max_of(logits, vocab);
  const float target_logit = logits[target];
  double sum = 0;
  for (int64_t begin = 0; begin < vocab; begin += kPiece) {
    float* piece = logits + begin;
    sum += sum_vectors(std::min(kPiece, vocab - begin), [&](auto d, int64_t i) HWY_ATTR {
      const auto e = exp_vector(d, hn::Sub(hn::LoadU(d, piece + i), hn::Set(d, max)));
      if (gradient) hn::StoreU(e, d, piece + i);
      return e;
    });
  }
  if (gradient) {
    const auto factor = static_cast<float>(dloss / sum);
    for_vectors(vocab, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, logits + i), hn::Set(d, factor)), d, logits + i);
    });
    logits[target] -= dloss;
    std::fill(logits + vocab, logits + padded, 0.0f);
  }
  return static_cast<float>(std::log(sum) + max - target_logit);
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(softmax_row);

void classifier(ThreadPool& pool, GemmEngine& engine, const Classifier& a) {
  const int64_t N = a.x.rows(), padded = a.weight.rows(), chunk = a.logits.rows();
  const bool gradient = static_cast<bool>(a.dx);
  for (int64_t begin = 0; begin < N; begin += chunk) {
    const int64_t rows = std::min(chunk, N - begin);
    const Tensor x = a.x.slice_rows(begin, rows);
    const Tensor logits = a.logits.slice_rows(0, rows);
    gemm(pool, engine, {.a = x, .b = a.weight, .out = logits, .trans_b = true});
    pool.run_range(rows, std::max<int64_t>(1, kGrain / padded), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        a.losses.f32()[begin + row] = HWY_DYNAMIC_DISPATCH(softmax_row)(
            logits.f32() + row * padded, a.vocab, padded, a.targets.as<int32_t>()[begin + row], a.dloss, gradient);
      }
    });
    if (!gradient) continue;
    gemm(pool, engine, {.a = logits, .b = a.weight, .out = a.dx.slice_rows(begin, rows)});
    gemm(pool, engine,
         {.a = logits, .b = x, .out = a.dweight, .trans_a = true, .accumulate = a.accumulate || begin > 0});
  }
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
