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
#include "tests/weights_cases.h"

namespace ink {
namespace {

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
    const Output expected = multiply(*ref_, p, a, b.get(), bias);
    const Output got = multiply(*cpu_[0], p, a, b.get(), bias);
    if (has_blocks(p.type) && !p.has_gelu()) {
      EXPECT_TRUE(got == expected) << "not the same bits as the reference";
    } else {
      expect_near(p, a, b.floats(), got, expected, GetParam().products);
    }
    for (size_t i = 1; i < cpu_.size(); ++i) {
      EXPECT_TRUE(multiply(*cpu_[i], p, a, b.get(), bias) == got) << i + 1 << " threads";
    }
    const Weights shifted(p.type, p.b_shape(), values, p.type == DType::f32 ? 4 : 2);
    const Output elsewhere = multiply(*cpu_[1], p, a, shifted.get(), bias);
    if (has_fixed_bits(p.type)) {
      EXPECT_TRUE(elsewhere == got) << "at another address";
    } else {
      expect_near(p, a, b.floats(), elsewhere, expected, GetParam().products);
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
  product_cases([this](DType type) { return own_kernels(type); }, [this](const Product& p) { check(p); });
}

TEST_P(OpsWeights, GemmBeyondOneStage) {
  for (const DType type : kTypes) {
    if (own_kernels(type)) check({1027, 40, 64, type, true, Product::Epilogue::bias});
  }
}

TEST_P(OpsWeights, RowsDoNotDependOnOthers) {
  for (const DType type : kTypes) {
    if (has_fixed_bits(type)) expect_rows_do_not_depend_on_others(*cpu_[1], type);
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

TEST_P(OpsWeights, HalvesAreWidenedExactly) {
  if (GetParam().products != DType::f32) return;
  for (const int64_t M : {1, 17}) expect_halves_are_widened_exactly(*cpu_[1], M);
}
TEST_P(OpsWeights, BlocksOfAAreRoundedAsStated) { expect_blocks_of_a_are_rounded_as_stated(*cpu_[1], *ref_); }
TEST_P(OpsWeights, NanAndInfinityComeThrough) { expect_nan_and_infinity_come_through(*cpu_[1]); }
TEST_P(OpsWeights, BlocksHoldTheLargestSums) { expect_blocks_hold_the_largest_sums(*cpu_[1], *ref_); }

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
