// What this machine can do: the measures that the speed of a training run is a share of. Best of several repeats, since
// whatever else runs on the machine can only make a repeat slower.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/peak.cc"
#include <hwy/foreach_target.h>

#include <chrono>
#include <cstring>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// Independent sums: two units with a latency of four or five need ten. Where there are 32 registers there may be four
// units (Apple's), which need sixteen. Sums that do not fit the registers, and loops that compilers leave rolled up
// (more than sixteen rounds), would measure the memory instead.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4
constexpr int kChains = 12;
#else
constexpr int kChains = 16;
#endif

// rounds · kChains fused multiply-adds of vectors, in registers alone. Returns the FLOPs; *sink keeps them from being
// optimised away.
double multiply_add(int64_t rounds, float* sink) {
  const Full d;
  const auto scale = hn::Set(d, *sink), shift = hn::Set(d, 1 - *sink);  // settles at 1: no denormals, no infinities
  hn::Vec<Full> sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) sums[i] = hn::MulAdd(sums[i], scale, shift);
  }
  auto sum = hn::Zero(d);
  for (int i = 0; i < kChains; ++i) sum = hn::Add(sum, sums[i]);
  *sink = hn::GetLane(sum) / kChains;
  return 2.0 * static_cast<double>(rounds * kChains) * static_cast<double>(hn::Lanes(d));
}

float read_range(const float* x, int64_t n) {
  return sum_vectors(n, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, x + i); });
}

// The memory traffic of AdamW, with little else to do.
void update_range(float* param, const float* grad, float* m, float* v, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto half = hn::Set(d, 0.5f);
    const auto g = hn::LoadU(d, grad + i);
    const auto new_m = hn::MulAdd(half, hn::LoadU(d, m + i), g);
    const auto new_v = hn::MulAdd(half, hn::LoadU(d, v + i), g);
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    hn::StoreU(hn::MulAdd(new_m, new_v, hn::LoadU(d, param + i)), d, param + i);
  });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(multiply_add);
HWY_EXPORT(read_range);
HWY_EXPORT(update_range);

namespace {

// The shortest of the runs of body that fit into the time, at least three.
template <class Body>
double best_seconds(double time, const Body& body) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  double best = 1e30;
  const Clock::time_point start = Clock::now();
  for (int run = 0; run < 3 || since(start) < time; ++run) {
    const Clock::time_point begin = Clock::now();
    body();
    best = std::min(best, since(begin));
  }
  return best;
}

}  // namespace

double measure_flops(ThreadPool& pool) {
  constexpr int64_t kRounds = 100'000;  // about a millisecond
  // A task a thread, and a few more: one that starts late does not leave the others waiting for it.
  const int64_t tasks = int64_t{4} * pool.threads();
  double flops = 0;  // of one task: the same for all
  const double seconds = best_seconds(0.08, [&] {
    pool.run(tasks, [&](int64_t task) {
      float sink = 0.999f;
      const double done = HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, &sink);
      if (task == 0) flops = sink > 0 ? done : 0;
    });
  });
  return static_cast<double>(tasks) * flops / seconds;
}

Bandwidth measure_bandwidth(ThreadPool& pool, Buffer& memory) {
  constexpr int64_t kPiece = int64_t{1} << 18;  // elements of a task: 1 MiB
  const auto elements = static_cast<int64_t>(memory.size() / sizeof(float));
  auto* x = reinterpret_cast<float*>(memory.data());
  // The first touch is the system's work.
  pool.run_range(elements, kPiece, [&](int64_t begin, int64_t end) { std::fill(x + begin, x + end, 0.0f); });

  std::atomic<float> sink{0};
  const double read = best_seconds(0.1, [&] {
    pool.run_range(elements, kPiece, [&](int64_t begin, int64_t end) {
      sink.store(HWY_DYNAMIC_DISPATCH(read_range)(x + begin, end - begin), std::memory_order_relaxed);
    });
  });
  const int64_t quarter = elements / 4;
  const double update = best_seconds(0.1, [&] {
    pool.run_range(quarter, kPiece, [&](int64_t begin, int64_t end) {
      float* const p = x + begin;
      HWY_DYNAMIC_DISPATCH(update_range)(p, p + quarter, p + 2 * quarter, p + 3 * quarter, end - begin);
    });
  });
  return {.read = static_cast<double>(elements) * sizeof(float) / read,
          .update = static_cast<double>(quarter) * 7 * sizeof(float) / update};
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
