// Products with weights of every type at odd sizes: what every device is tested with. Tensors are the host's; a device
// with memory of its own gets copies.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ink/ops/check_args.h"
#include "ink/ops/ops.h"
#include "ink/tensor/cast.h"

namespace ink {

inline constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
inline constexpr double kUnit = std::numeric_limits<float>::epsilon() / 2;  // what rounding a number changes at most

inline bool has_blocks(DType type) { return block_of(type) > 1; }

inline std::vector<float> random(int64_t n, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

inline Tensor tensor(const std::vector<float>& x, const Shape& shape) {
  return {const_cast<float*>(x.data()), DType::f32, shape};
}

// Weights of a type, at an address that is a multiple of 64 but for the offset.
class Weights {
 public:
  Weights(DType type, const Shape& shape, const std::vector<float>& values, size_t offset = 0)
      : type_(type), shape_(shape), memory_(bytes_of(type, shape.numel()) + 64 + offset) {
    const size_t aligned = (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
    data_ = memory_.data() + aligned + offset;
    from_f32(values, type, data_);
  }
  Tensor get() const { return {data_, type_, shape_}; }
  std::vector<float> floats() const {
    std::vector<float> x(shape_.numel());
    to_f32(type_, data_, x);
    return x;
  }

 private:
  DType type_;
  Shape shape_;
  std::vector<std::byte> memory_;
  std::byte* data_;
};

struct Product {
  enum class Epilogue { none, bias, gelu, bias_gelu, gelu_in_place };

  int64_t M, N, K;
  DType type;
  bool trans_b = true;
  Epilogue epilogue = Epilogue::none;

  std::string name() const {
    return std::to_string(M) + " x " + std::to_string(N) + " x " + std::to_string(K) + " " +
           std::string(name_of(type)) + (trans_b ? " tb" : "") + " epilogue " +
           std::to_string(static_cast<int>(epilogue));
  }
  Shape b_shape() const { return trans_b ? Shape{N, K} : Shape{K, N}; }
  bool has_bias() const { return epilogue == Epilogue::bias || epilogue == Epilogue::bias_gelu; }
  bool has_gelu() const { return epilogue != Epilogue::none && epilogue != Epilogue::bias; }
};

struct Output {
  std::vector<float> out, gelu_in;
  bool operator==(const Output& other) const { return same(out, other.out) && same(gelu_in, other.gelu_in); }
  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
  }
};

// Computes rows [begin, begin + count) of the product, of activations stored as real.
Output multiply(Ops& ops, const Product& p, const std::vector<float>& a, const Tensor& b,
                const std::vector<float>& bias, int64_t begin = 0, int64_t count = -1, DType real = DType::f32);

// A sum of K products in floats is off by at most (K + 1) roundings of the sum of their magnitudes (Higham, section
// 3.1), the reference's and the bias's roundings added; the slope of gelu is at most 1.13. What is stored as real is
// rounded to that, besides, and of gelu_in so rounded the gelu is.
void expect_near(const Product& p, const std::vector<float>& a, const std::vector<float>& b, const Output& got,
                 const Output& expected, DType products = DType::f32, DType real = DType::f32);

// Products of all types; of the types of weights that types says.
void product_cases(const std::function<bool(DType)>& types, const std::function<void(const Product&)>& check);

// A row's bits are the same alone, with some others and with many: all of these, or groups step rows apart, of at most
// so many columns.
void expect_rows_do_not_depend_on_others(Ops& ops, DType type, int64_t step = 1, int64_t columns = 257);
// Every number that f16 and bf16 have, or one in so many, comes through as it is, and so do NaN and infinity, in
// products of M rows.
void expect_halves_are_widened_exactly(Ops& ops, int64_t M, int one_in = 1);
// The rounding of a: halfway cases, the smallest numbers, zeros.
void expect_blocks_of_a_are_rounded_as_stated(Ops& ops, Ops& ref);
void expect_nan_and_infinity_come_through(Ops& ops);
// All values of a block, the most negative too, at once.
void expect_blocks_hold_the_largest_sums(Ops& ops, Ops& ref);

}  // namespace ink
