// Sums and questions over a whole tensor.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/reduce.cc"
#include <hwy/foreach_target.h>

#include <cmath>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

double sum_squares_range(const float* x, int64_t n) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = sum0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto x0 = hn::PromoteTo(d, hn::LoadU(half, x + i));
    const auto x1 = hn::PromoteTo(d, hn::LoadU(half, x + i + lanes));
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < n; ++i) sum += double{x[i]} * x[i];
  return sum;
}

bool finite_range(const float* x, int64_t n) {
  const Full d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    if (!hn::AllTrue(d, hn::IsFinite(hn::LoadU(d, x + i)))) return false;
  }
  for (; i < n; ++i) {
    if (!std::isfinite(x[i])) return false;
  }
  return true;
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(sum_squares_range);
HWY_EXPORT(finite_range);

double sum_squares(ThreadPool& pool, Scratch& scratch, const Tensor& x) {
  const int64_t n = x.numel(), blocks = (n + kGrain - 1) / kGrain;
  double* partials = scratch.get<double>(blocks);
  pool.run_range(n, kGrain, [&](int64_t begin, int64_t end) {
    partials[begin / kGrain] = HWY_DYNAMIC_DISPATCH(sum_squares_range)(x.f32() + begin, end - begin);
  });
  double sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partials[block];
  return sum;
}

bool all_finite(ThreadPool& pool, const Tensor& x) {
  std::atomic<bool> finite{true};
  pool.run_range(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (finite.load(std::memory_order_relaxed) && !HWY_DYNAMIC_DISPATCH(finite_range)(x.f32() + begin, end - begin)) {
      finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite.load();
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
