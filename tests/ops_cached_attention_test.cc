// Attention to a paged cache on the cpu device against the reference, on every instruction set and number of threads.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <memory>
#include <vector>

#include "ink/ops/device.h"
#include "tests/cached_cases.h"
#include "tests/count_allocations.h"

namespace ink {
namespace {

TEST(CachedAttention, IsTheReferencesOnEveryInstructionSet) {
  const std::vector<Cached>& cases = cached_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    CachedMemory expected(cases[i]);
    ThreadPool one(1);
    make_ops("ref", one)->cached_attention(expected.args);
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      SCOPED_TRACE(testing::Message() << "case " << i << ", " << hwy::TargetName(target));
      hwy::SetSupportedTargetsForTest(target);
      std::vector<float> first;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
        CachedMemory actual(cases[i]);
        ops->cached_attention(actual.args);
        EXPECT_TRUE(same_bits(actual.k, expected.k));
        EXPECT_TRUE(same_bits(actual.v, expected.v));
        for (size_t j = 0; j < expected.out.size(); ++j) ASSERT_NEAR(actual.out[j], expected.out[j], 2e-6) << j;
        if (first.empty()) first = actual.out;
        EXPECT_TRUE(same_bits(actual.out, first)) << threads << " threads";
        const int64_t before = allocations();
        ops->cached_attention(actual.args);
        EXPECT_EQ(allocations(), before);
      }
      hwy::SetSupportedTargetsForTest(0);
    }
  }
}

TEST(CachedAttention, ARowsBitsAreItsOwn) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    ThreadPool pool(2);
    const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
    expect_rows_bits_are_their_own(*ops, {2, 24, {{5, 70}, {0, 3}}}, {0, 11, 26, 27, 58, 59, 69});
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace
}  // namespace ink
