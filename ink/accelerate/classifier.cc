// The last product, the loss and their gradients, in chunks of as many rows as the caller's scratch holds.
#include <Accelerate/Accelerate.h>

#include <algorithm>
#include <cmath>

#include "ink/accelerate/kernels.h"

namespace ink::accelerate {

namespace {

// The loss of one row of logits, which are lost; with gradient the row becomes dlogits, 0 in [vocab, padded).
float softmax_row(float* logits, int64_t vocab, int64_t padded, int32_t target, float dloss, bool gradient) {
  const auto length = static_cast<vDSP_Length>(vocab);
  const auto n = static_cast<int>(vocab);
  const float target_logit = logits[target];
  float max = 0;
  vDSP_maxv(logits, 1, &max, length);
  const float minus_max = -max;
  vDSP_vsadd(logits, 1, &minus_max, logits, 1, length);
  vvexpf(logits, logits, &n);
  double sum = 0;  // of pieces that are summed in float
  for_pieces(0, vocab, [&](int64_t begin, int64_t size) {
    float part = 0;
    vDSP_sve(logits + begin, 1, &part, static_cast<vDSP_Length>(size));
    sum += part;
  });
  if (gradient) {
    const auto factor = static_cast<float>(dloss / sum);
    vDSP_vsmul(logits, 1, &factor, logits, 1, length);
    logits[target] -= dloss;
    std::fill(logits + vocab, logits + padded, 0.0f);
  }
  return static_cast<float>(std::log(sum) + max - target_logit);
}

}  // namespace

void classifier(ThreadPool& pool, Products& products, const Classifier& a) {
  const int64_t N = a.x.rows(), padded = a.weight.rows(), chunk = a.logits.rows();
  const bool gradient = static_cast<bool>(a.dx);
  for (int64_t begin = 0; begin < N; begin += chunk) {
    const int64_t rows = std::min(chunk, N - begin);
    const Tensor x = a.x.slice_rows(begin, rows);
    const Tensor logits = a.logits.slice_rows(0, rows);
    gemm(pool, products, {.a = x, .b = a.weight, .out = logits, .trans_b = true});
    pool.run_range(rows, std::max<int64_t>(1, kGrain / padded), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        a.losses.f32()[begin + row] = softmax_row(logits.f32() + row * padded, a.vocab, padded,
                                                  a.targets.as<int32_t>()[begin + row], a.dloss, gradient);
      }
    });
    if (!gradient) continue;
    gemm(pool, products, {.a = logits, .b = a.weight, .out = a.dx.slice_rows(begin, rows)});
    gemm(pool, products,
         {.a = logits, .b = x, .out = a.dweight, .trans_a = true, .accumulate = a.accumulate || begin > 0});
  }
}

}  // namespace ink::accelerate
