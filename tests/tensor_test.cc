// tensor: shapes, views and the memory plan.
#include "ink/tensor/tensor.h"

#include <gtest/gtest.h>

#include <vector>

#include "ink/tensor/plan.h"

namespace ink {
namespace {

TEST(Shape, CountsAndPrints) {
  const Shape shape = {2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.cols(), 4);
  EXPECT_EQ(shape.str(), "(2, 3, 4)");
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_EQ(Shape().str(), "()");
  EXPECT_EQ(Shape({0, 4}).numel(), 0);
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
}

TEST(Tensor, ViewsShareMemory) {
  std::vector<float> memory(24);
  for (int i = 0; i < 24; ++i) memory[i] = static_cast<float>(i);
  const Tensor t(memory.data(), DType::f32, {2, 3, 4});
  EXPECT_EQ(t.bytes(), 96u);
  const Tensor row = t.slice_rows(4, 2);
  EXPECT_EQ(row.shape, Shape({2, 4}));
  EXPECT_EQ(row.f32()[0], 16);
  EXPECT_FALSE(Tensor());
}

TEST(Plan, LaysArenasOneAfterAnother) {
  Plan plan;
  Tensor a, b, c;
  plan.add(&a, "parameters", "a", DType::f32, {5});
  plan.add(&c, "activations", "c", DType::bf16, {3, 3});
  plan.add(&b, "parameters", "b", DType::f32, {17});
  EXPECT_EQ(plan.bytes("parameters"), 64u + 128u);
  EXPECT_EQ(plan.bytes("activations"), 64u);
  EXPECT_EQ(plan.bytes("nothing"), 0u);
  EXPECT_EQ(plan.bytes(), 256u);
  alignas(64) std::byte memory[256];
  plan.bind(memory);
  EXPECT_EQ(a.data, memory);
  EXPECT_EQ(b.data, memory + 64);
  EXPECT_EQ(c.data, memory + 192);
  EXPECT_EQ(c.shape, Shape({3, 3}));
}

TEST(Plan, SharedSlotsOfOneNameHaveOnePlace) {
  Plan plan;
  Tensor own0, own1, shared0, shared1, other;
  plan.add(&own0, "activations", "ln1", DType::f32, {16});
  plan.add(&shared0, "activations", "gelu", DType::f32, {16}, Keep::shared);
  plan.add(&own1, "activations", "ln1", DType::f32, {16});
  plan.add(&shared1, "activations", "gelu", DType::f32, {16}, Keep::shared);
  plan.add(&other, "gradients", "gelu", DType::f32, {16}, Keep::shared);
  EXPECT_EQ(plan.bytes("activations"), 3 * 64u);
  alignas(64) std::byte memory[256];
  plan.bind(memory);
  EXPECT_EQ(shared0.data, shared1.data);
  EXPECT_NE(own0.data, own1.data);
  EXPECT_NE(other.data, shared0.data) << "another arena is another place";
}

TEST(Plan, ReportsArenasAndPeak) {
  Plan plan;
  Tensor a, b;
  plan.add(&a, "parameters", "a", DType::f32, {1 << 20});
  plan.add(&b, "activations", "b", DType::f32, {1 << 10});
  const std::string report = plan.report(1000);
  EXPECT_NE(report.find("parameters"), std::string::npos);
  EXPECT_NE(report.find("4.0 MiB"), std::string::npos);
  EXPECT_NE(report.find("4199400"), std::string::npos) << report;  // with the program's 1000
}

TEST(HumanBytes, PicksTheUnit) {
  EXPECT_EQ(human_bytes(12), "12 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(size_t{3} << 29), "1.50 GiB");
}

}  // namespace
}  // namespace ink
