// The GPU's attention to a paged cache against the reference, in the emulator: in two orders of threads and blocks,
// with activations of f32 and of bf16.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ref/ref_ops.h"
#include "tests/cached_cases.h"

namespace ink {
namespace {

std::unique_ptr<Ops> emulated(DType real, emu::Order order) {
  return std::make_unique<gpu::GpuOps>(emu::make_emu_gpu(order), real);
}

class GpuCachedAttention : public testing::TestWithParam<DType> {};

TEST_P(GpuCachedAttention, IsTheReferencesInAnyOrder) {
  const DType real = GetParam();
  const std::vector<Cached>& cases = cached_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i);
    CachedMemory expected(cases[i], real);
    RefOps(DType::f32).cached_attention(expected.args);
    std::vector<float> first;
    for (const emu::Order order : {emu::Order::forward, emu::Order::shuffled}) {
      const std::unique_ptr<Ops> ops = emulated(real, order);
      const CachedMemory host(cases[i], real);
      const CachedOnDevice device(*ops, host, real);
      ops->cached_attention(device.args);
      EXPECT_TRUE(same_bits(device.floats(device.args.k_pages), expected.k));
      EXPECT_TRUE(same_bits(device.floats(device.args.v_pages), expected.v));
      const std::vector<float> out = device.floats(device.args.out);
      const double rounding = real == DType::bf16 ? 0x1p-8 : 0;
      for (size_t j = 0; j < out.size(); ++j) {
        ASSERT_NEAR(out[j], expected.out[j], 2e-6 + rounding * std::abs(expected.out[j])) << j;
      }
      if (first.empty()) first = out;
      EXPECT_TRUE(same_bits(out, first)) << "other bits in another order: a race";
    }
  }
}

TEST_P(GpuCachedAttention, ARowsBitsAreItsOwn) {
  const std::unique_ptr<Ops> ops = emulated(GetParam(), emu::Order::forward);
  expect_rows_bits_are_their_own(*ops, {2, 24, {{5, 70}, {0, 3}}}, {0, 11, 26, 27, 58, 59, 69, 70, 72}, GetParam());
  expect_rows_bits_are_their_own(*ops, {1, 33, {{250, 20}, {31, 4}}}, {0, 5, 6, 7, 15, 19, 20, 23}, GetParam());
}

TEST_P(GpuCachedAttention, RefusesHeadsThatAreTooLarge) {
  const std::unique_ptr<Ops> ops = emulated(GetParam(), emu::Order::forward);
  const CachedMemory host({1, 257, {{0, 1}}}, GetParam());
  const CachedOnDevice device(*ops, host, GetParam());
  try {
    ops->cached_attention(device.args);
    ADD_FAILURE() << "took it";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "cached attention: heads of 257 channels; 256 are the most that GPUs take");
  }
}

INSTANTIATE_TEST_SUITE_P(Real, GpuCachedAttention, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace ink
