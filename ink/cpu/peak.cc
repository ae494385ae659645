// What this machine can do: the measure that a training run's speed is a share of.
#include <chrono>
#include <vector>

#include "ink/cpu/kernels.h"
#include "ink/cpu/sgemm.h"

namespace ink::cpu {

double measure_flops(ThreadPool& pool) {
  constexpr int64_t kSize = 384;
  constexpr double kSeconds = 0.05, kFlops = 2.0 * kSize * kSize * kSize;
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  const std::vector<float> a(kSize * kSize, 1.0f), b(kSize * kSize, 0.5f);
  std::vector<float> products(pool.threads() * kSize * kSize);
  const auto multiply = [&] {
    pool.run(pool.threads(), [&](int64_t task) {
      sgemm({.a = a.data(),
             .b = b.data(),
             .c = products.data() + task * kSize * kSize,
             .m = kSize,
             .n = kSize,
             .k = kSize,
             .lda = kSize,
             .ldb = kSize,
             .ldc = kSize});
    });
  };
  multiply();  // the library may build its kernels in the first call
  double best = 0;
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    multiply();
    best = std::max(best, pool.threads() * kFlops / seconds(Clock::now() - begin));
  } while (seconds(Clock::now() - start) < kSeconds);
  return best;
}

}  // namespace ink::cpu
