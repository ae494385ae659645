// Products, embeddings and losses with weights of every type, on the cpu device against the reference: under every
// instruction set, at odd sizes and addresses, with any number of threads and rows.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ink/ops/check_args.h"
#include "ink/ops/device.h"
#include "ink/tensor/cast.h"
#include "tests/count_allocations.h"

namespace ink {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
constexpr double kUnit = std::numeric_limits<float>::epsilon() / 2;  // what rounding a number changes at most

bool has_blocks(DType type) { return block_of(type) > 1; }

std::vector<float> random(int64_t n, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

Tensor tensor(const std::vector<float>& x, const Shape& shape) {
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

enum class Epilogue { none, bias, gelu, bias_gelu, gelu_in_place };

struct Product {
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

// Computes rows [begin, begin + count) of the product.
Output multiply(Ops& ops, const Product& p, const std::vector<float>& a, const Weights& b,
                const std::vector<float>& bias, int64_t begin = 0, int64_t count = -1) {
  if (count < 0) count = p.M;
  Output result;
  result.out.assign(count * p.N, std::numeric_limits<float>::quiet_NaN());
  const bool apart = p.epilogue == Epilogue::gelu || p.epilogue == Epilogue::bias_gelu;
  if (apart) result.gelu_in = result.out;
  const Tensor out = tensor(result.out, {count, p.N});
  const Gemm g = {.a = tensor(a, {p.M, p.K}).slice_rows(begin, count),
                  .b = b.get(),
                  .bias = p.has_bias() ? tensor(bias, {p.N}) : Tensor(),
                  .out = out,
                  .gelu_in = apart          ? tensor(result.gelu_in, {count, p.N})
                             : p.has_gelu() ? out
                                            : Tensor(),
                  .trans_b = p.trans_b};
  EXPECT_TRUE(fits(g));
  ops.gemm(g);
  return result;
}

struct DeviceTarget {
  std::string device;
  int64_t target;
  DType products = DType::f32;
};

const std::vector<int64_t> kTargets = hwy::SupportedAndGeneratedTargets();  // the best first

std::vector<DeviceTarget> devices_and_targets() {
  std::vector<DeviceTarget> all;
  for (const int64_t target : kTargets) all.push_back({"cpu", target});
  for (const DeviceInfo& device : devices()) {
    if (device.name.starts_with("cpu-")) all.push_back({device.name, kTargets.front()});
    if (device.name != "accelerate") continue;
    for (const DType products : {DType::f32, DType::bf16}) all.push_back({device.name, kTargets.front(), products});
  }
  all.push_back({"cpu", kTargets.front(), DType::bf16});
#ifdef INK_ONLY_DEVICE
  std::erase_if(all, [](const DeviceTarget& t) { return t.device != INK_ONLY_DEVICE; });
#endif
  return all;
}

class OpsWeights : public testing::TestWithParam<DeviceTarget> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam().target); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  // A library's products are its own affair: only weights that are not f32 are multiplied here.
  bool own_kernels(DType type) const { return GetParam().device == "cpu" || type != DType::f32; }
  // Apple's library multiplies halves too, and promises no bits.
  bool has_fixed_bits(DType type) const {
    return own_kernels(type) && (GetParam().device != "accelerate" || has_blocks(type));
  }

  void check(const Product& p) {
    SCOPED_TRACE(p.name());
    const std::vector<float> a = random(p.M * p.K, 1), bias = random(p.N, 3);
    const std::vector<float> values = random(p.N * p.K, 2);
    const Weights b(p.type, p.b_shape(), values);
    const Output expected = multiply(*ref_, p, a, b, bias);
    const Output got = multiply(*cpu_[0], p, a, b, bias);
    if (has_blocks(p.type) && !p.has_gelu()) {
      EXPECT_TRUE(got == expected) << "not the same bits as the reference";
    } else {
      expect_near(p, a, b.floats(), got, expected);
    }
    for (size_t i = 1; i < cpu_.size(); ++i) {
      EXPECT_TRUE(multiply(*cpu_[i], p, a, b, bias) == got) << i + 1 << " threads";
    }
    const Weights shifted(p.type, p.b_shape(), values, p.type == DType::f32 ? 4 : 2);
    const Output elsewhere = multiply(*cpu_[1], p, a, shifted, bias);
    if (has_fixed_bits(p.type)) {
      EXPECT_TRUE(elsewhere == got) << "at another address";
    } else {
      expect_near(p, a, b.floats(), elsewhere, expected);
    }
  }

  // A sum of K products in floats is off by at most (K + 1) roundings of the sum of their magnitudes (Higham, section
  // 3.1), the reference's and the bias's roundings added; the slope of gelu is at most 1.13.
  void expect_near(const Product& p, const std::vector<float>& a, const std::vector<float>& b, const Output& got,
                   const Output& expected) const {
    const bool bf16 = GetParam().products == DType::bf16 && !has_blocks(p.type);
    const auto round = [&](float x) { return std::abs(bf16 ? bf16_to_f32(f32_to_bf16(x)) : x); };
    for (int64_t m = 0; m < p.M; ++m) {
      for (int64_t n = 0; n < p.N; ++n) {
        double magnitude = p.has_bias() ? 8 : 0;
        for (int64_t k = 0; k < p.K; ++k) {
          magnitude += double{round(a[m * p.K + k])} * round(b[p.trans_b ? n * p.K + k : k * p.N + n]);
        }
        // With blocks the sums have the same bits; what is left is gelu.
        const double terms = has_blocks(p.type) ? 0 : static_cast<double>(p.K) + 4;
        const double bound = terms * kUnit * magnitude * 1.13;
        const int64_t i = m * p.N + n;
        const double gelu_bound = p.has_gelu() ? 40 * kUnit * (std::abs(expected.out[i]) + 1) : 0;
        ASSERT_LE(std::abs(double{got.out[i]} - expected.out[i]), bound + gelu_bound) << m << ", " << n;
        if (got.gelu_in.empty()) continue;
        ASSERT_LE(std::abs(double{got.gelu_in[i]} - expected.gelu_in[i]), bound) << m << ", " << n;
      }
    }
  }

  ThreadPool one_{1}, two_{2}, three_{3};
  std::unique_ptr<Ops> ref_ = make_ops("ref", one_, GetParam().products);
  std::vector<std::unique_ptr<Ops>> cpu_ = [this] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (ThreadPool* pool : {&one_, &two_, &three_}) {
      ops.push_back(make_ops(GetParam().device, *pool, GetParam().products));
    }
    return ops;
  }();
};

TEST_P(OpsWeights, Gemm) {
  constexpr int64_t kColumns[] = {1, 17, 64, 257, 31, 96}, kDepths[] = {32, 96, 544, 1056};
  for (const DType type : kTypes) {
    if (!own_kernels(type)) continue;
    for (int64_t M = 1; M <= 20; ++M) {
      const int64_t N = kColumns[M % 6];
      const int64_t K = has_blocks(type) ? kDepths[M % 4] : kDepths[M % 4] + (M % 3 == 0 ? 0 : 2 * M - 9);
      const auto epilogue = static_cast<Epilogue>(M % 5);
      check({M, N, K, type, true, epilogue});
      if (!has_blocks(type)) check({M, N, K, type, false, epilogue});
    }
    check({70, 130, 640, type, true, Epilogue::bias_gelu});
    if (!has_blocks(type)) check({70, 130, 640, type, false, Epilogue::bias_gelu});
  }
}

TEST_P(OpsWeights, GemmBeyondOneStage) {
  for (const DType type : kTypes) {
    if (own_kernels(type)) check({1027, 40, 64, type, true, Epilogue::bias});
  }
}

TEST_P(OpsWeights, AShortRowIsAllItNeeds) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    if (!own_kernels(type)) continue;
    for (const int64_t K : {1, 3, 7, 9, 15, 17}) {
      check({2, 5, K, type, true});
      check({2, 5, K, type, false});
      check({19, 33, K, type, true});
      check({19, 33, K, type, false});
    }
  }
}

// A row's bits are the same alone, with some others and with many.
TEST_P(OpsWeights, RowsDoNotDependOnOthers) {
  for (const DType type : kTypes) {
    if (!has_fixed_bits(type)) continue;
    for (const bool trans_b : {true, false}) {
      if (has_blocks(type) && !trans_b) continue;
      for (const auto& [N, K] : {std::pair<int64_t, int64_t>{257, 1120}, {16, 768}, {70, 32}}) {
        const Product p = {37, N, K, type, trans_b, Epilogue::bias_gelu};
        SCOPED_TRACE(p.name());
        const std::vector<float> a = random(p.M * K, 4), bias = random(N, 5);
        const Weights b(type, p.b_shape(), random(N * K, 6));
        const Output all = multiply(*cpu_[1], p, a, b, bias);
        for (const int64_t count : {1, 2, 3, 5, 8, 16, 17, 20}) {
          for (int64_t begin = 0; begin + count <= p.M; begin += count) {
            const Output some = multiply(*cpu_[1], p, a, b, bias, begin, count);
            ASSERT_EQ(std::memcmp(some.out.data(), all.out.data() + begin * N, some.out.size() * sizeof(float)), 0)
                << count << " rows from " << begin;
          }
        }
      }
    }
  }
}

TEST_P(OpsWeights, GemmAllocatesOnlyOnce) {
  for (const DType type : kTypes) {
    for (const int64_t M : {1, 30}) {
      const Product p = {M, 200, 96, type};
      const std::vector<float> a = random(M * p.K, 1);
      const Weights b(type, p.b_shape(), random(p.N * p.K, 2));
      std::vector<float> out(M * p.N);
      const Gemm g = {.a = tensor(a, {M, p.K}), .b = b.get(), .out = tensor(out, {M, p.N}), .trans_b = true};
      cpu_[1]->gemm(g);
      const int64_t before = allocations();
      cpu_[1]->gemm(g);
      EXPECT_EQ(allocations() - before, 0) << p.name();
    }
  }
}

// Every number that f16 and bf16 have comes through as it is, and so do NaN and infinity.
TEST_P(OpsWeights, HalvesAreWidenedExactly) {
  if (GetParam().products != DType::f32) return;
  constexpr int64_t kAll = 65536;
  std::vector<uint16_t> bits(kAll);
  for (int64_t i = 0; i < kAll; ++i) bits[i] = static_cast<uint16_t>(i);
  const std::vector<float> one = {1};
  for (const DType type : {DType::f16, DType::bf16}) {
    std::vector<float> expected(kAll), out(kAll);
    const Tensor b(bits.data(), type, {kAll, 1});
    to_f32(type, b.data, expected);
    for (const int64_t M : {1, 17}) {
      const std::vector<float> a(M, 1.0f);
      out.assign(M * kAll, 0);
      for (const bool trans_b : {true, false}) {
        const Tensor weights(bits.data(), type, trans_b ? Shape{kAll, 1} : Shape{1, kAll});
        cpu_[1]->gemm({.a = tensor(a, {M, 1}), .b = weights, .out = tensor(out, {M, kAll}), .trans_b = trans_b});
        for (int64_t i = 0; i < kAll; ++i) {
          if (std::isnan(expected[i])) {
            ASSERT_TRUE(std::isnan(out[i])) << name_of(type) << " " << i;
          } else {
            ASSERT_EQ(out[i], expected[i]) << name_of(type) << " " << i;
          }
        }
      }
    }
  }
}

// The rounding of a: halfway cases, the smallest numbers, zeros.
TEST_P(OpsWeights, BlocksOfAAreRoundedAsStated) {
  std::vector<float> a(32 * 8);
  for (int i = 0; i < 32; ++i) {
    a[i] = static_cast<float>(i) + 0.5f;               // with a largest of 127: q = a
    a[32 + i] = 0;                                     // d = 0
    a[64 + i] = i == 3 ? 1e-40f : 1e-42f;              // 1 / d is infinite
    a[96 + i] = i % 2 == 0 ? 3e38f : -3e38f;           // the largest
    a[128 + i] = i == 0 ? -0.0f : 1e-38f * (i - 16);   // d is subnormal
    a[160 + i] = (i - 15.5f) * 8.1935484f;             // up to ±127
    a[192 + i] = i == 31 ? -1000.0f : 0.01f;           // all but one round to 0
    a[224 + i] = static_cast<float>(i * i * i) / 7.f;  // nothing in particular
  }
  a[31] = 127;
  for (const DType type : {DType::q8_0, DType::q4_0}) {
    for (const int64_t K : {32, 256}) {
      const int64_t M = 256 / K;
      const Weights b(type, {40, K}, random(40 * K, 8));
      const Product p = {M, 40, K, type};
      EXPECT_TRUE(multiply(*cpu_[1], p, a, b, {}) == multiply(*ref_, p, a, b, {})) << p.name();
    }
  }
}

TEST_P(OpsWeights, NanAndInfinityComeThrough) {
  for (const DType type : kTypes) {
    for (const int64_t M : {3, 30}) {
      const Product p = {M, 50, 64, type};
      SCOPED_TRACE(p.name());
      for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
        std::vector<float> a = random(M * p.K, 1);
        a[p.K + 5] = bad;  // the second row
        const Weights b(type, p.b_shape(), random(p.N * p.K, 2));
        const Output got = multiply(*cpu_[1], p, a, b, {});
        for (int64_t i = 0; i < M * p.N; ++i) ASSERT_EQ(std::isfinite(got.out[i]), i / p.N != 1) << bad << " " << i;
      }
      if (!has_blocks(type)) continue;
      const std::vector<float> a = random(M * p.K, 1);
      const Weights b(type, p.b_shape(), random(p.N * p.K, 2));
      const uint16_t infinity = 0x7c00;  // the scale of the second block of row 7
      std::memcpy(b.get().data + bytes_of(type, 7 * p.K + 32), &infinity, sizeof infinity);
      const Output got = multiply(*cpu_[1], p, a, b, {});
      for (int64_t i = 0; i < M * p.N; ++i) ASSERT_EQ(std::isfinite(got.out[i]), i % p.N != 7) << i;
    }
  }
}

// All values of a block, the most negative too, at once.
TEST_P(OpsWeights, BlocksHoldTheLargestSums) {
  for (const DType type : {DType::q8_0, DType::q4_0}) {
    const Product p = {2, 33, 64, type};
    const Weights b(type, p.b_shape(), std::vector<float>(p.N * p.K, 1.0f));
    for (const int byte : {0x80, 0x7f, 0xff, 0x00}) {  // -128, 127; nibbles of -8 and 0, 7 and 7, 7 and -8, ...
      for (int64_t i = 0; i < p.N * p.K / 32; ++i) {
        std::byte* block = b.get().data + bytes_of(type, i * 32);
        for (size_t j = 2; j < block_bytes(type); ++j) block[j] = static_cast<std::byte>(byte);
      }
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> a(p.M * p.K, 127 * sign);
        EXPECT_TRUE(multiply(*cpu_[1], p, a, b, {}) == multiply(*ref_, p, a, b, {})) << byte << " " << sign;
      }
    }
  }
}

TEST_P(OpsWeights, EmbedTakesEveryTypeAndPositions) {
  constexpr int64_t B = 3, T = 5, C = 96, V = 11, kMost = 7;
  const std::vector<float> wpe = random(kMost * C, 2);
  std::vector<int32_t> tokens(B * T), positions(B * T);
  for (int64_t i = 0; i < B * T; ++i) {
    tokens[i] = static_cast<int32_t>(7 * i % V);
    positions[i] = static_cast<int32_t>(5 * i % kMost);
  }
  for (const DType type : kTypes) {
    const Weights wte(type, {V, C}, random(V * C, 1), type == DType::f32 ? 4 : 2);
    const std::vector<float> values = wte.floats();
    for (const bool given : {false, true}) {
      std::vector<float> out(B * T * C), expected(B * T * C);
      const auto run = [&](Ops& ops, std::vector<float>& to) {
        const Embed e = {.out = tensor(to, {B, T, C}),
                         .tokens = Tensor(tokens.data(), DType::i32, {B, T}),
                         .wte = wte.get(),
                         .wpe = tensor(wpe, {kMost, C}),
                         .positions = given ? Tensor(positions.data(), DType::i32, {B, T}) : Tensor()};
        ASSERT_TRUE(fits(e));
        ops.embed(e);
      };
      for (int64_t i = 0; i < B * T * C; ++i) {
        const int64_t row = i / C;
        expected[i] = values[tokens[row] * C + i % C] + wpe[(given ? positions[row] : row % T) * C + i % C];
      }
      run(*cpu_[2], out);
      EXPECT_EQ(out, expected) << name_of(type);
      run(*ref_, out);
      EXPECT_EQ(out, expected) << name_of(type);
    }
  }
}

TEST_P(OpsWeights, ClassifierTakesEveryType) {
  constexpr int64_t N = 21, C = 64, kVocab = 50, kPadded = 61;
  const std::vector<float> x = random(N * C, 1);
  std::vector<int32_t> targets(N);
  for (int64_t i = 0; i < N; ++i) targets[i] = static_cast<int32_t>(13 * i % kVocab);
  for (const DType type : kTypes) {
    const Weights weight(type, {kPadded, C}, random(kPadded * C, 2));
    for (const int64_t chunk : {1, 4, 21}) {
      std::vector<float> losses(N), expected(N), logits(chunk * kPadded);
      const auto run = [&](Ops& ops, std::vector<float>& to) {
        const Classifier c = {.x = tensor(x, {N, C}),
                              .weight = weight.get(),
                              .targets = Tensor(targets.data(), DType::i32, {N}),
                              .losses = tensor(to, {N}),
                              .logits = tensor(logits, {chunk, kPadded}),
                              .vocab = kVocab};
        ASSERT_TRUE(fits(c));
        ops.classifier(c);
      };
      run(*cpu_[1], losses);
      run(*ref_, expected);
      for (int64_t i = 0; i < N; ++i) EXPECT_NEAR(losses[i], expected[i], 1e-4) << name_of(type);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Target, OpsWeights, testing::ValuesIn(devices_and_targets()), [](const auto& i) {
  std::string name = i.param.device + "_" + hwy::TargetName(i.param.target);
  if (i.param.products == DType::bf16) name += "_bf16";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// What weights that are not f32 may be used for.
TEST(WeightsFit, OnlyInference) {
  std::vector<float> memory(64 * 64);
  const auto f32 = [&](const Shape& shape) { return tensor(memory, shape); };
  const auto weights = [&](DType type, const Shape& shape) { return Tensor(memory.data(), type, shape); };
  for (const DType type : {DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
    const Gemm good = {.a = f32({2, 32}), .b = weights(type, {3, 32}), .out = f32({2, 3}), .trans_b = true};
    EXPECT_TRUE(fits(good));
    const auto fits_with = [&](const auto& change) {
      Gemm g = good;
      change(g);
      return fits(g);
    };
    EXPECT_FALSE(fits_with([&](Gemm& g) { g.accumulate = true; }));
    EXPECT_FALSE(fits_with([&](Gemm& g) { g.dgelu_in = f32({2, 3}); }));
    EXPECT_FALSE(fits_with([&](Gemm& g) {
      g.a = f32({32, 2});
      g.trans_a = true;
    }));
    EXPECT_EQ(fits_with([&](Gemm& g) {
                g.b = weights(type, {32, 32});
                g.out = f32({2, 32});
                g.trans_b = false;
              }),
              !has_blocks(type));
    EXPECT_EQ(fits_with([&](Gemm& g) {
                g.a = f32({2, 33});
                g.b = weights(type, {3, 33});
              }),
              !has_blocks(type));
  }
  EXPECT_FALSE(fits(Gemm{.a = f32({2, 32}), .b = weights(DType::i32, {3, 32}), .out = f32({2, 3}), .trans_b = true}));

  std::vector<int32_t> ids = {0, 6, 1};
  const auto tokens = [&](int64_t n) { return Tensor(ids.data(), DType::i32, {1, n}); };
  const auto embed = [&](const Tensor& wte, int64_t positions_end) {
    return fits(Embed{.out = f32({1, 3, wte.cols()}),
                      .tokens = tokens(3),
                      .wte = wte,
                      .wpe = f32({positions_end, wte.cols()}),
                      .positions = tokens(3)});
  };
  EXPECT_TRUE(embed(weights(DType::q8_0, {7, 32}), 7));
  EXPECT_FALSE(embed(weights(DType::q8_0, {7, 33}), 7));
  EXPECT_FALSE(embed(weights(DType::q8_0, {6, 32}), 7)) << "a token beyond wte";
  EXPECT_FALSE(embed(weights(DType::q8_0, {7, 32}), 6)) << "a position beyond wpe";

  Classifier c = {.x = f32({2, 32}),
                  .weight = weights(DType::f16, {7, 32}),
                  .targets = tokens(2),
                  .losses = f32({2}),
                  .logits = f32({1, 7}),
                  .vocab = 7};
  EXPECT_TRUE(fits(c));
  c.dx = f32({2, 32});
  c.dweight = f32({7, 32});
  EXPECT_FALSE(fits(c));
  c.weight = f32({7, 32});
  EXPECT_TRUE(fits(c));
}

}  // namespace
}  // namespace ink
