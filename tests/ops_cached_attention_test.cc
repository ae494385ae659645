// Attention to a paged cache on the cpu device against the reference: sequences of different lengths whose pages lie in
// any order, heads of odd sizes, every instruction set and number of threads.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "ink/ops/device.h"
#include "tests/count_allocations.h"

namespace ink {
namespace {

// Rows of several sequences, each going on from a number of cached positions.
struct Cached {
  struct Rows {
    int64_t before, count;
  };
  int64_t heads, size;
  std::vector<Rows> rows;
};

// The tensors of a case; the same for the same case.
struct Memory {
  std::vector<float> qkv, out, k, v;
  std::vector<int32_t> sequences, positions, table;
  CachedAttention args;

  explicit Memory(const Cached& c) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 1);
    const int64_t C = c.heads * c.size, S = static_cast<int64_t>(c.rows.size());
    int64_t R = 0, longest = 0;
    for (size_t s = 0; s < c.rows.size(); ++s) {
      for (int64_t i = 0; i < c.rows[s].count; ++i, ++R) {
        sequences.push_back(static_cast<int32_t>(s));
        positions.push_back(static_cast<int32_t>(c.rows[s].before + i));
      }
      longest = std::max(longest, c.rows[s].before + c.rows[s].count);
    }
    const int64_t columns = (longest + kPagePositions - 1) / kPagePositions + 1, pages = S * columns + 2;
    table.resize(static_cast<size_t>(pages));
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), random);
    const auto fill = [&](std::vector<float>& values, int64_t n) {
      values.resize(static_cast<size_t>(n));
      for (float& x : values) x = normal(random);
    };
    fill(qkv, R * 3 * C);
    out.assign(static_cast<size_t>(R * C), std::numeric_limits<float>::quiet_NaN());
    fill(k, pages * C * kPagePositions);
    fill(v, pages * C * kPagePositions);
    // What no position has written yet may be anything.
    for (int64_t s = 0; s < S; ++s) {
      const auto [before, count] = c.rows[static_cast<size_t>(s)];
      for (int64_t u = before; u < columns * kPagePositions; ++u) {
        const int64_t page = table[static_cast<size_t>(s * columns + u / kPagePositions)];
        for (int64_t i = 0; i < C; ++i) {
          const int64_t h = i / c.size, at = (page * c.heads + h) * c.size * kPagePositions;
          k[static_cast<size_t>(at + i % c.size * kPagePositions + u % kPagePositions)] = NAN;
          v[static_cast<size_t>(at + u % kPagePositions * c.size + i % c.size)] = NAN;
        }
      }
    }
    args = {.qkv = Tensor(qkv.data(), DType::f32, {R, 3 * C}),
            .out = Tensor(out.data(), DType::f32, {R, C}),
            .k_pages = Tensor(k.data(), DType::f32, {pages, c.heads, c.size, kPagePositions}),
            .v_pages = Tensor(v.data(), DType::f32, {pages, c.heads, kPagePositions, c.size}),
            .sequences = Tensor(sequences.data(), DType::i32, {R}),
            .positions = Tensor(positions.data(), DType::i32, {R}),
            .table = Tensor(table.data(), DType::i32, {S, columns}),
            .heads = static_cast<int>(c.heads)};
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

TEST(CachedAttention, IsTheReferencesOnEveryInstructionSet) {
  const std::vector<Cached> cases = {
      {1, 1, {{0, 1}}},
      {2, 5, {{0, 31}, {31, 1}, {32, 1}, {3, 40}}},
      {3, 16, {{64, 1}, {0, 1}, {100, 13}, {7, 12}, {95, 33}}},
      {2, 64, {{0, 70}}},
      {1, 80, {{200, 1}, {10, 25}}},
      {4, 33, {{32, 32}}},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    Memory expected(cases[i]);
    ThreadPool one(1);
    make_ops("ref", one)->cached_attention(expected.args);
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      SCOPED_TRACE(testing::Message() << "case " << i << ", " << hwy::TargetName(target));
      hwy::SetSupportedTargetsForTest(target);
      std::vector<float> first;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
        Memory actual(cases[i]);
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

// The last row alone, with everything before it cached, has the bits that it has among the others.
TEST(CachedAttention, ARowsBitsAreItsOwn) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    ThreadPool pool(2);
    const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
    Memory all({2, 24, {{5, 70}, {0, 3}}});
    ops->cached_attention(all.args);
    const int64_t C = 48;
    for (const int64_t row : {0, 11, 26, 27, 58, 59, 69}) {
      std::vector<float> out(static_cast<size_t>(C));
      CachedAttention one = all.args;
      one.qkv = one.qkv.slice_rows(row, 1);
      one.out = Tensor(out.data(), DType::f32, {1, C});
      one.sequences = Tensor(all.sequences.data() + row, DType::i32, {1});
      one.positions = Tensor(all.positions.data() + row, DType::i32, {1});
      ops->cached_attention(one);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), all.out.begin() + row * C)) << hwy::TargetName(target) << row;
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace
}  // namespace ink
