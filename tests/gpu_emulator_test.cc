// The emulator catches what a GPU lets pass: kernels with planted faults, each beside what it should have been.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/emu/emulator.h"
#include "ink/gpu/emu/fiber.h"

namespace ink::gpu {

struct TestArgs {
  index_t n;
  int what;
};

GPU_CONSTANT int kThreads = 64;

// out[i] = the neighbour's in[i], through shared memory.
KERNEL(rotate, GLOBAL(float) out, GLOBAL(const float) in, ARGS(TestArgs) a) {
  SHARED_ARRAY(float, tile, kThreads);
  tile[THREAD] = in[index_t(BLOCK_X) * kThreads + THREAD];
  if (a.what != 1) BARRIER();  // 1: the barrier is missing
  out[index_t(BLOCK_X) * kThreads + THREAD] = tile[(THREAD + 1) % kThreads];
}

KERNEL(early_return, GLOBAL(float) out, ARGS(TestArgs) a) {
  if (THREAD >= a.n) return;
  BARRIER();
  out[THREAD] = 1;
}

KERNEL(two_barriers, GLOBAL(float) out, ARGS(TestArgs) a) {
  if (THREAD < a.n) {
    BARRIER();
  } else {
    BARRIER();
  }
  out[THREAD] = 1;
}

KERNEL(overrun, GLOBAL(float) out, ARGS(TestArgs) a) { out[index_t(BLOCK_X) * kThreads + THREAD + a.what] = 1; }

KERNEL(shared_overrun, GLOBAL(float) out, ARGS(TestArgs) a) {
  SHARED_ARRAY(float, tile, kThreads);
  tile[THREAD + a.what] = 1;
  BARRIER();
  out[THREAD] = tile[THREAD];
}

KERNEL(vectors, GLOBAL(float) out, ARGS(TestArgs) a) {
  float4 one;
  one.x = one.y = one.z = one.w = 1;
  if (THREAD < a.n / 4 - 1) store4(out, 4 * THREAD + a.what, one);
}

KERNEL(unwritten, GLOBAL(float) out, ARGS(TestArgs) a) {
  SHARED_ARRAY(float, tile, kThreads);
  SHARED_ARRAY(int, ids, kThreads);
  if (THREAD < a.n) tile[THREAD] = 1;
  BARRIER();
  out[THREAD] = tile[THREAD];
  if (THREAD == 0 && ids[0] != -1) out[0] = 0;
}

KERNEL(totals, GLOBAL(float) out, GLOBAL(const float) in, ARGS(TestArgs) a) {
  SHARED_ARRAY(float, scratch, kThreads / kSimd);
  const float x = in[THREAD];
  if (a.what == 1 && THREAD == 40) return;
  const float total =
      a.what == 2 && THREAD % kSimd == 5 ? shuffle_xor(x, 3) : block_total(x, scratch, THREAD, kThreads);
  BARRIER();
  const float largest = block_largest(x, scratch, THREAD, kThreads);
  out[THREAD] = total;
  out[kThreads + THREAD] = largest;
}

KERNEL(too_much_shared, GLOBAL(float) out, ARGS(TestArgs) a) {
  SHARED_ARRAY(float, tile, 8193);
  tile[THREAD] = 0;
  out[THREAD] = tile[THREAD] + float(a.n);
}

// Each block writes its number to one place: a race between blocks.
KERNEL(last_block, GLOBAL(float) out, ARGS(TestArgs) a) {
  if (THREAD == 0) out[0] = float(BLOCK_X) + float(a.n);
}

namespace {

constexpr emu::Order kOrders[] = {emu::Order::forward, emu::Order::reversed, emu::Order::shuffled};

Tensor tensor(std::vector<float>& x) { return {x.data(), DType::f32, {static_cast<int64_t>(x.size())}}; }

// The error of a launch; empty if there was none.
template <class... P>
std::string fault(void (*kernel)(P...), std::vector<Tensor> buffers, const TestArgs& args, Grid grid = {},
                  emu::Order order = emu::Order::forward) {
  emu::Emulator emulator(order);
  try {
    emu::launch(emulator, "planted", kernel, kThreads, grid, buffers, &args, sizeof args);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " is not in: " << text;
}

TEST(Emulator, SharedMemoryAndBarriersWork) {
  for (const emu::Order order : kOrders) {
    std::vector<float> in(3 * kThreads), out(in.size(), -1);
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
    ASSERT_EQ(fault(rotate, {tensor(out), tensor(in)}, {}, {.x = 3}, order), "");
    for (int i = 0; i < 3 * kThreads; ++i) EXPECT_EQ(out[i], i / kThreads * kThreads + (i + 1) % kThreads);
  }
}

// Without the barrier a thread reads what its neighbour has not written yet: NaN in one order, right in another.
TEST(Emulator, AMissingBarrierShowsInTheBits) {
  std::vector<std::vector<float>> results;
  for (const emu::Order order : kOrders) {
    std::vector<float> in(kThreads, 1), out(kThreads);
    ASSERT_EQ(fault(rotate, {tensor(out), tensor(in)}, {.what = 1}, {}, order), "");
    results.push_back(out);
  }
  EXPECT_TRUE(std::isnan(results[0][0]));
  EXPECT_EQ(results[1][0], 1);  // the neighbour ran before
  EXPECT_NE(std::memcmp(results[0].data(), results[1].data(), kThreads * sizeof(float)), 0);
  EXPECT_NE(std::memcmp(results[0].data(), results[2].data(), kThreads * sizeof(float)), 0);
}

TEST(Emulator, AnEarlyReturnBeforeABarrierStops) {
  for (const emu::Order order : kOrders) {
    std::vector<float> out(kThreads);
    EXPECT_EQ(fault(early_return, {tensor(out)}, {.n = kThreads}, {}, order), "");
    expect_words(fault(early_return, {tensor(out)}, {.n = 63}, {.y = 2}, order),
                 {"kernel planted", "block (0, ", "thread 63", "returned", "barrier", "gpu_emulator_test.cc:"});
  }
}

TEST(Emulator, DifferentBarriersStop) {
  std::vector<float> out(kThreads);
  EXPECT_EQ(fault(two_barriers, {tensor(out)}, {.n = kThreads}), "");
  expect_words(fault(two_barriers, {tensor(out)}, {.n = 5}), {"thread 5", "waits at", "thread 0", "barrier of"});
}

TEST(Emulator, OutOfBoundsStops) {
  std::vector<float> out(2 * kThreads);
  EXPECT_EQ(fault(overrun, {tensor(out)}, {}, {.x = 2}), "");
  expect_words(fault(overrun, {tensor(out)}, {.what = 1}, {.x = 2}),
               {"block (1, 0, 0)", "thread 63", "element 128 of buffer 0, which has 128"});
  expect_words(fault(overrun, {tensor(out)}, {.what = -1}, {.x = 2}), {"block (0, 0, 0)", "thread 0", "element -1"});
  expect_words(fault(overrun, {Tensor()}, {}), {"buffer 0, which has 0"});
  expect_words(fault(shared_overrun, {tensor(out)}, {.what = 1}), {"thread 63", "element 64 of shared memory"});
}

TEST(Emulator, MisalignedVectorsStop) {
  alignas(16) float memory[kThreads] = {};
  const Tensor out(memory, DType::f32, {kThreads});
  EXPECT_EQ(fault(vectors, {out}, {.n = kThreads}), "");
  expect_words(fault(vectors, {out}, {.n = kThreads, .what = 2}), {"thread 0", "vector of 16 bytes", "element 2 of"});
}

TEST(Emulator, SharedMemoryStartsAsNan) {
  std::vector<float> out(kThreads);
  EXPECT_EQ(fault(unwritten, {tensor(out)}, {.n = 10}), "");
  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[9], 1);
  EXPECT_TRUE(std::isnan(out[10]));
}

TEST(Emulator, SimdGroupsShuffleTogether) {
  std::vector<float> in(kThreads), out(2 * kThreads);
  for (int i = 0; i < kThreads; ++i) in[i] = static_cast<float>(i);
  for (const emu::Order order : kOrders) {
    ASSERT_EQ(fault(totals, {tensor(out), tensor(in)}, {}, {}, order), "");
    for (int i = 0; i < kThreads; ++i) {
      EXPECT_EQ(out[i], kThreads * (kThreads - 1) / 2);
      EXPECT_EQ(out[kThreads + i], kThreads - 1);
    }
    expect_words(fault(totals, {tensor(out), tensor(in)}, {.what = 1}, {}, order),
                 {"thread 40", "returned", "shuffle"});
    expect_words(fault(totals, {tensor(out), tensor(in)}, {.what = 2}, {}, order), {"waits at"});
  }
}

TEST(Emulator, SharedMemoryHasTheLimitOfTheSmallestGpu) {
  std::vector<float> out(kThreads);
  expect_words(fault(too_much_shared, {tensor(out)}, {}), {"32772 bytes of shared memory", "32768"});
}

TEST(Emulator, BlocksRunInEveryOrder) {
  std::vector<float> seen;
  for (const emu::Order order : kOrders) {
    std::vector<float> out(1);
    ASSERT_EQ(fault(last_block, {tensor(out)}, {}, {.x = 50}, order), "");
    seen.push_back(out[0]);
  }
  EXPECT_EQ(seen[0], 49);
  EXPECT_EQ(seen[1], 0);
  EXPECT_NE(seen[2], 49);
}

TEST(Emulator, LaunchesThatDoNotFitTheKernelStop) {
  std::vector<float> x(kThreads);
  expect_words(fault(rotate, {tensor(x)}, {}), {"1 buffers given, it takes 2"});
  const Tensor ints(x.data(), DType::i32, {kThreads});
  expect_words(fault(rotate, {tensor(x), ints}, {}), {"buffer 1 holds i32"});
  expect_words(fault(overrun, {tensor(x)}, {}, {.x = 0}), {"grid of 0 x 1 x 1"});
  expect_words(fault(overrun, {tensor(x)}, {}, {.y = 70000}), {"70000"});
  emu::Emulator emulator(emu::Order::forward);
  const TestArgs args{};
  const Tensor out = tensor(x);
  EXPECT_THROW(emu::launch(emulator, "planted", overrun, 48, {}, {&out, 1}, &args, sizeof args), Error);
  EXPECT_THROW(emu::launch(emulator, "planted", overrun, kThreads, {}, {&out, 1}, &args, 4), Error);
}

// After a fault, whose threads are left where they were, it runs the next kernel.
TEST(Emulator, GoesOnAfterAFault) {
  emu::Emulator emulator(emu::Order::forward);
  std::vector<float> out(kThreads);
  const Tensor t = tensor(out);
  TestArgs args{.n = 10};
  EXPECT_THROW(emu::launch(emulator, "planted", early_return, kThreads, {}, {&t, 1}, &args, sizeof args), Error);
  args.n = kThreads;
  emu::launch(emulator, "planted", early_return, kThreads, {}, {&t, 1}, &args, sizeof args);
  EXPECT_EQ(out[63], 1);
}

TEST(EmuGpu, ReachesItsOwnMemoryOnly) {
  const std::unique_ptr<Gpu> gpu = emu::make_emu_gpu();
  const std::unique_ptr<Buffer> buffer = gpu->allocate(1024);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0u);
  std::vector<float> host(256, 1);
  gpu->upload(buffer->data(), host.data(), 1024);
  EXPECT_THROW(gpu->upload(buffer->data() + 4, host.data(), 1024), Error);
  EXPECT_THROW(gpu->copy(buffer->data(), host.data(), 1024), Error);
  const FillArgs args{.n = 256, .value = 7};
  const auto fill = [&](const Tensor& t) {
    gpu->launch({.kernel = Kernel::fill, .buffers = {&t, 1}, .args = &args, .args_bytes = sizeof args});
  };
  fill({buffer->data(), DType::f32, {256}});
  gpu->download(host.data(), buffer->data(), 1024);
  EXPECT_EQ(host, std::vector<float>(256, 7));
  EXPECT_THROW(fill(tensor(host)), Error);
  EXPECT_THROW(fill({buffer->data() + 4, DType::f32, {256}}), Error);
}

TEST(Fiber, RunsInTurns) {
  struct Counter {
    emu::Fiber fiber;
    int count = 0;
  };
  Counter counter;
  const auto run = [](void* argument) {
    auto& c = *static_cast<Counter*>(argument);
    for (int i = 0; i < 3; ++i) {
      ++c.count;
      c.fiber.yield();
    }
  };
  counter.fiber.start(run, &counter);
  for (int i = 1; i <= 3; ++i) {
    counter.fiber.resume();
    EXPECT_EQ(counter.count, i);
  }
  counter.fiber.start(run, &counter);  // from the beginning
  counter.fiber.resume();
  EXPECT_EQ(counter.count, 4);
}

}  // namespace
}  // namespace ink::gpu
