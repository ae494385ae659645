// What this machine can do: the measures that the speed of a training run is a share of.
//
// All threads work at the same time, and each times short pieces of its own work. The rate of a thread is the one that
// a tenth of its pieces pass, the machine's the sum of its threads'. So a thread that another program keeps waiting for
// a while, or that shares a core until the system moves it, spoils pieces and not the measure; and what threads take
// from each other all the time (memory, the units of a core with two threads) is in it.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/peak.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

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

// work(thread, piece) does one piece of a thread's work and returns its amount. Amount a second.
template <class Work>
double measure_rate(ThreadPool& pool, double time, const Work& work) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  const int64_t threads = pool.threads();
  std::vector<double> rates(static_cast<size_t>(threads));
  std::atomic<int64_t> started{0};
  pool.run(threads, [&](int64_t thread) {
    started.fetch_add(1);
    while (started.load() < threads) std::this_thread::yield();  // a task each: nobody runs two
    constexpr size_t kFewest = 16, kMost = 2048;
    std::array<double, kMost> pieces;
    size_t count = 0;
    const Clock::time_point start = Clock::now();
    while (count < kMost && (count < kFewest || since(start) < time)) {
      const Clock::time_point begin = Clock::now();
      const double amount = work(thread, static_cast<int64_t>(count));
      pieces[count++] = amount / std::max(since(begin), 1e-9);
    }
    const auto end = pieces.begin() + static_cast<std::ptrdiff_t>(count);
    const auto fast = end - 1 - static_cast<std::ptrdiff_t>(count / 10);
    std::nth_element(pieces.begin(), fast, end);
    rates[static_cast<size_t>(thread)] = *fast;
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

}  // namespace

double measure_flops(ThreadPool& pool) {
  constexpr int64_t kRounds = 50'000;  // some tenths of a millisecond
  return measure_rate(pool, 0.08, [](int64_t, int64_t) {
    float sink = 0.999f;
    const double flops = HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, &sink);
    return sink > 0 ? flops : 0;  // always: but the compiler does not know
  });
}

Bandwidth measure_bandwidth(ThreadPool& pool, Buffer& memory) {
  constexpr int64_t kPiece = int64_t{1} << 18;  // elements: 1 MiB
  const auto elements = static_cast<int64_t>(memory.size() / sizeof(float));
  auto* x = reinterpret_cast<float*>(memory.data());
  // The first touch is the system's work.
  pool.run_range(elements, kPiece, [&](int64_t begin, int64_t end) { std::fill(x + begin, x + end, 0.0f); });

  // Every thread goes round and round in its own part of n elements. A piece: where it begins and how long it is.
  const auto part_of = [&](int64_t n, int64_t thread, int64_t piece, int64_t length) {
    const int64_t part = n / pool.threads(), pieces = std::max<int64_t>(1, part / length);
    return std::pair(thread * part + piece % pieces * length, std::min(part, length));
  };
  std::atomic<float> sink{0};
  const double read = measure_rate(pool, 0.06, [&](int64_t thread, int64_t piece) {
    const auto [begin, count] = part_of(elements, thread, piece, kPiece);
    sink.store(HWY_DYNAMIC_DISPATCH(read_range)(x + begin, count), std::memory_order_relaxed);
    return static_cast<double>(count) * sizeof(float);
  });
  const int64_t quarter = elements / 4;
  const double update = measure_rate(pool, 0.06, [&](int64_t thread, int64_t piece) {
    const auto [begin, count] = part_of(quarter, thread, piece, kPiece / 4);
    float* const p = x + begin;
    HWY_DYNAMIC_DISPATCH(update_range)(p, p + quarter, p + 2 * quarter, p + 3 * quarter, count);
    return static_cast<double>(count) * 7 * sizeof(float);
  });
  return {.read = read, .update = update};
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
