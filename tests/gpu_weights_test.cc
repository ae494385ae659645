// Products with weights of every type by the GPU's kernels in the emulator, against the reference.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ref/ref_ops.h"
#include "tests/weights_cases.h"

namespace ink {
namespace {

class GpuWeights : public testing::Test {
 protected:
  static std::unique_ptr<Ops> make(emu::Order order, DType storage) {
    return std::make_unique<gpu::GpuOps>(emu::make_emu_gpu(order), storage);
  }

  void check(const Product& p) {
    SCOPED_TRACE(p.name());
    const std::vector<float> a = random(p.M * p.K, 1), bias = random(p.N, 3), values = random(p.N * p.K, 2);
    const Weights b(p.type, p.b_shape(), values), shifted(p.type, p.b_shape(), values, p.type == DType::f32 ? 4 : 2);
    const Output expected = multiply(ref_, p, a, b.get(), bias), got = multiply(*ops_, p, a, b.get(), bias);
    if (has_blocks(p.type) && !p.has_gelu()) {
      EXPECT_TRUE(got == expected) << "not the same bits as the reference";
    } else {
      expect_near(p, a, b.floats(), got, expected);
    }
    EXPECT_TRUE(multiply(*shuffled_, p, a, shifted.get(), bias) == got) << "in another order, at another address";
  }

  // With activations stored as bf16, and products of bf16.
  void check_bf16(const Product& p) {
    SCOPED_TRACE(p.name());
    std::vector<float> a = random(p.M * p.K, 1), bias = random(p.N, 3);
    for (std::vector<float>* x : {&a, &bias}) {
      for (float& value : *x) value = bf16_to_f32(f32_to_bf16(value));
    }
    const Weights b(p.type, p.b_shape(), random(p.N * p.K, 2));
    expect_near(p, a, b.floats(), multiply(*bf16_, p, a, b.get(), bias, 0, p.M, DType::bf16),
                multiply(bf16_ref_, p, a, b.get(), bias), DType::bf16, DType::bf16);
  }

  // The emulator is slow: long sums of many columns are left to fewer cases.
  bool is_small(const Product& p) { return p.N * p.K < 100000 || ++large_ % 4 == 0; }
  int large_ = 0;

  RefOps ref_{DType::f32}, bf16_ref_{DType::bf16};
  std::unique_ptr<Ops> ops_ = make(emu::Order::forward, DType::f32);
  std::unique_ptr<Ops> shuffled_ = make(emu::Order::shuffled, DType::f32);
  std::unique_ptr<Ops> bf16_ = make(emu::Order::reversed, DType::bf16);
};

TEST_F(GpuWeights, Gemm) {
  product_cases([](DType) { return true; },
                [this](const Product& p) {
                  if (is_small(p)) check(p);
                });
}
TEST_F(GpuWeights, GemmOfBf16) {
  product_cases([](DType type) { return type != DType::f32; },
                [this](const Product& p) {
                  if (is_small(p)) check_bf16(p);
                });
}
TEST_F(GpuWeights, RowsDoNotDependOnOthers) {
  for (const DType type : kTypes) expect_rows_do_not_depend_on_others(*ops_, type, 37, 33);
}
TEST_F(GpuWeights, HalvesAreWidenedExactly) { expect_halves_are_widened_exactly(*ops_, 1, 13); }
TEST_F(GpuWeights, BlocksOfAAreRoundedAsStated) { expect_blocks_of_a_are_rounded_as_stated(*ops_, ref_); }
TEST_F(GpuWeights, NanAndInfinityComeThrough) { expect_nan_and_infinity_come_through(*ops_); }
TEST_F(GpuWeights, BlocksHoldTheLargestSums) { expect_blocks_hold_the_largest_sums(*ops_, ref_); }

}  // namespace
}  // namespace ink
