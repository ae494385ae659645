// Attention to a paged cache: sequences of different lengths whose pages lie in any order, heads of odd sizes. What
// every device is tested with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "ink/ops/ops.h"
#include "ink/tensor/cast.h"

namespace ink {

// Rows of several sequences, each going on from a number of cached positions.
struct Cached {
  struct Rows {
    int64_t before, count;
  };
  int64_t heads, size;
  std::vector<Rows> rows;
  bool interleaved = false;  // the sequences' first rows, then their second ones, ...
};

inline const std::vector<Cached>& cached_cases() {
  static const std::vector<Cached> cases = {
      {1, 1, {{0, 1}}},
      {2, 5, {{0, 31}, {31, 1}, {32, 1}, {3, 40}}},
      {3, 16, {{64, 1}, {0, 1}, {100, 13}, {7, 12}, {95, 33}}},
      {2, 64, {{0, 70}}},
      {1, 80, {{200, 1}, {10, 25}}},
      {4, 33, {{32, 32}}},
      {2, 20, {{5, 9}, {0, 3}, {40, 10}}, true},
      {1, 129, {{300, 10}, {511, 1}, {512, 1}}},
      {1, 256, {{0, 1}, {258, 2}}},
  };
  return cases;
}

// The tensors of a case on the host; the same for the same case. qkv is rounded to real.
struct CachedMemory {
  std::vector<float> qkv, out, k, v;
  std::vector<int32_t> sequences, positions, table;
  CachedAttention args;

  explicit CachedMemory(const Cached& c, DType real = DType::f32) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 1);
    const int64_t C = c.heads * c.size, S = static_cast<int64_t>(c.rows.size());
    std::vector<std::pair<int64_t, int64_t>> rows;  // of each: how many of its sequence come before, the sequence
    int64_t longest = 0;
    for (int64_t s = 0; s < S; ++s) {
      const auto [before, count] = c.rows[static_cast<size_t>(s)];
      for (int64_t i = 0; i < count; ++i) rows.emplace_back(i, s);
      longest = std::max(longest, before + count);
    }
    if (c.interleaved) std::ranges::sort(rows);
    for (const auto& [i, s] : rows) {
      sequences.push_back(static_cast<int32_t>(s));
      positions.push_back(static_cast<int32_t>(c.rows[static_cast<size_t>(s)].before + i));
    }
    const auto R = static_cast<int64_t>(rows.size());
    const int64_t columns = (longest + kPagePositions - 1) / kPagePositions + 1, pages = S * columns + 2;
    table.resize(static_cast<size_t>(pages));
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), random);
    const auto fill = [&](std::vector<float>& values, int64_t n) {
      values.resize(static_cast<size_t>(n));
      for (float& x : values) x = normal(random);
    };
    fill(qkv, R * 3 * C);
    if (real == DType::bf16) std::ranges::for_each(qkv, [](float& x) { x = bf16_to_f32(f32_to_bf16(x)); });
    out.assign(static_cast<size_t>(R * C), std::numeric_limits<float>::quiet_NaN());
    fill(k, pages * C * kPagePositions);
    fill(v, pages * C * kPagePositions);
    // What no position has written yet may be anything.
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t u = c.rows[static_cast<size_t>(s)].before; u < columns * kPagePositions; ++u) {
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
  CachedMemory(const CachedMemory&) = delete;
  CachedMemory& operator=(const CachedMemory&) = delete;
};

// The same in a device's memory, with qkv and out of the type real.
class CachedOnDevice {
 public:
  CachedOnDevice(Ops& ops, const CachedMemory& host, DType real) : ops_(ops) {
    const CachedAttention& a = host.args;
    args = {.qkv = put(a.qkv, real),
            .out = put(a.out, real),
            .k_pages = put(a.k_pages),
            .v_pages = put(a.v_pages),
            .sequences = put(a.sequences),
            .positions = put(a.positions),
            .table = put(a.table),
            .heads = a.heads};
  }

  // A tensor's elements, as floats.
  std::vector<float> floats(const Tensor& t) const {
    std::vector<std::byte> bytes(t.bytes());
    ops_.download(bytes.data(), t);
    std::vector<float> values(static_cast<size_t>(t.numel()));
    to_f32(t.dtype, bytes.data(), values);
    return values;
  }

  CachedAttention args;

 private:
  Tensor put(const Tensor& host) { return put(host, host.dtype); }
  Tensor put(const Tensor& host, DType dtype) {
    std::vector<std::byte> bytes(bytes_of(dtype, host.numel()));
    if (dtype == host.dtype) {
      std::ranges::copy(std::as_bytes(std::span(host.data, host.bytes())), bytes.begin());
    } else {
      from_f32(host.span<float>(), dtype, bytes.data());
    }
    buffers_.push_back(ops_.allocate(bytes.size()));
    const Tensor there(buffers_.back()->data(), dtype, host.shape);
    ops_.upload(there, bytes.data());
    return there;
  }

  Ops& ops_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

// A row alone, with everything before it cached, has the bits that it has among the others.
inline void expect_rows_bits_are_their_own(Ops& ops, const Cached& c, const std::vector<int64_t>& rows,
                                           DType real = DType::f32) {
  const CachedMemory host(c, real);
  const CachedOnDevice device(ops, host, real);
  const CachedAttention& all = device.args;
  ops.cached_attention(all);
  const std::vector<float> out = device.floats(all.out);
  ops.fill({all.out.data, DType::f32, {static_cast<int64_t>(all.out.bytes() / 4)}}, 0);
  for (const int64_t row : rows) {
    CachedAttention one = all;
    one.qkv = all.qkv.slice_rows(row, 1);
    one.out = all.out.slice_rows(row, 1);
    one.sequences = Tensor(all.sequences.as<int32_t>() + row, DType::i32, {1});
    one.positions = Tensor(all.positions.as<int32_t>() + row, DType::i32, {1});
    ops.cached_attention(one);
    const auto first = out.begin() + row * all.out.cols();
    EXPECT_TRUE(same_bits(device.floats(one.out), {first, first + all.out.cols()})) << "row " << row;
  }
}

}  // namespace ink
