// GpuOps over a library that has only some products: who computes what, and that it comes together.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>

#include "ink/gpu/emu/emu_gpu.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ref/ref_ops.h"
#include "tests/ops_cases.h"

namespace ink {
namespace {

// The emulator with a library of matrix products that have no epilogue.
class BareLibrary final : public gpu::Gpu {
 public:
  explicit BareLibrary(int& products) : products_(products) {}

  std::string name() const override { return gpu_->name(); }
  std::string description() const override { return gpu_->description(); }
  size_t memory() const override { return gpu_->memory(); }
  std::unique_ptr<Buffer> allocate(size_t bytes) override { return gpu_->allocate(bytes); }
  void upload(void* to, const void* from, size_t bytes) override { gpu_->upload(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { gpu_->download(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override { gpu_->copy(to, from, bytes); }
  void launch(const gpu::Launch& launch) override { gpu_->launch(launch); }
  bool gemm(const Gemm& a, DType) override {
    EXPECT_FALSE(a.dbias);
    if (a.bias || a.gelu_in || a.dgelu_in) return false;
    ref_.gemm(a);  // the emulated memory is the host's
    ++products_;
    return true;
  }
  void wait() override { gpu_->wait(); }

 private:
  std::unique_ptr<gpu::Gpu> gpu_ = emu::make_emu_gpu(emu::Order::forward);
  RefOps ref_{DType::f32};
  int& products_;
};

TEST(GpuGemm, ALibraryWithoutEpiloguesGetsTheRestByKernels) {
  int cases = 0, products = 0;
  RefOps ref(DType::f32);
  gpu::GpuOps ops(std::make_unique<BareLibrary>(products), DType::f32);
  gemm_cases([&](const Case& c) {
    SCOPED_TRACE(c.name);
    if (++cases % 3 != 0) return;  // of seven epilogues and four transpositions: each comes in time
    Arguments before(c, 0), expected(c, 0), got(c, 0);
    c.run(ref, expected);
    got.upload(ops);
    c.run(ops, got);
    got.download(ops);
    got.expect_intact(before);
    for (size_t i = 0; i < got.size(); ++i) {
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      const double bound = kEpsilon * (8 + static_cast<double>(c.length));
      for (size_t j = 0; j < g.size(); ++j) {
        ASSERT_NEAR(g[j], e[j], bound * (std::abs(e[j]) + c.scale)) << got.arg(i).name << "[" << j << "]";
      }
    }
  });
  EXPECT_GT(products, cases / 3 / 2) << "the library was not asked for bare products";
}

// x³ and x² overflow long before x does; the slope is 0 or 1 there.
TEST(GpuGemm, GelusSlopeIsFiniteWhereverItsArgumentIs) {
  const Case c{.name = "slopes",
               .args = {{.name = "a", .shape = {9, 1}},
                        {.name = "b", .shape = {1, 7}},
                        {.name = "dgelu_in", .shape = {9, 7}, .scale = 1e30f},
                        {.name = "out", .shape = {9, 7}, .role = Role::output}},
               .run = [](Ops& ops, const Arguments& t) {
                 ops.gemm({.a = t["a"], .b = t["b"], .out = t["out"], .dgelu_in = t["dgelu_in"]});
               }};
  RefOps ref(DType::f32);
  gpu::GpuOps ops(emu::make_emu_gpu(), DType::f32);
  Arguments expected(c, 0), got(c, 0);
  c.run(ref, expected);
  got.upload(ops);
  c.run(ops, got);
  got.download(ops);
  const std::span<float> g = got["out"].span<float>(), e = expected["out"].span<float>();
  for (size_t i = 0; i < g.size(); ++i) EXPECT_FLOAT_EQ(g[i], e[i]) << i;
}

}  // namespace
}  // namespace ink
