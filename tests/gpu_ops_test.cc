// The GPU's operations, from the kernels up, against the reference: in the emulator, in three orders of threads and
// blocks that must give the same bits, with activations and weights of f32 and of bf16.
#include "ink/gpu/gpu_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ink/gpu/emu/emu_gpu.h"
#include "ink/ref/ref_ops.h"
#include "tests/ops_cases.h"

namespace ink {
namespace {

class GpuOpsTest : public testing::TestWithParam<DType> {
 protected:
  void check(const Case& c) {
    SCOPED_TRACE(c.name);
    const DType real = GetParam();
    Arguments before(c, 0);
    before.round_to(real);
    Arguments expected(c, 0);
    expected.round_to(real);
    c.run(ref_, expected);
    std::unique_ptr<Arguments> first;
    for (const auto& ops : ops_) {
      auto got = std::make_unique<Arguments>(c, 0);
      got->round_to(real);
      got->upload(*ops, real);
      c.run(*ops, *got);
      got->download(*ops);
      got->expect_intact(before);
      if (first == nullptr) {
        expect_near(c, *got, expected);
        first = std::move(got);
      } else {
        expect_same_bits(*got, *first);
      }
    }
  }

 private:
  // The normalised mean square of the errors, which an error of each sum of length terms, and of each number's
  // rounding, bounds.
  void expect_near(const Case& c, const Arguments& got, const Arguments& expected) const {
    const double stored = GetParam() == DType::bf16 ? 0x1p-8 : kEpsilon;
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role != Role::inout && got.arg(i).role != Role::output) continue;
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      double errors = 0, squares = 0;
      for (size_t j = 0; j < g.size(); ++j) {
        ASSERT_EQ(std::isfinite(g[j]), std::isfinite(e[j])) << got.arg(i).name << "[" << j << "] is " << g[j];
        errors += std::pow(double{g[j]} - e[j], 2);
        squares += std::pow(double{e[j]}, 2);
      }
      squares = std::max(squares, c.scale * c.scale * static_cast<double>(g.size()));
      const double bound = std::pow(stored * 2, 2) + std::pow(kEpsilon, 2) * 4 * static_cast<double>(c.length);
      ASSERT_LE(errors / squares, bound) << got.arg(i).name << ", f32 and " << name_of(GetParam());
    }
  }

  static void expect_same_bits(const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role == Role::scratch) continue;
      ASSERT_EQ(std::memcmp(got.tensor(i).data, expected.tensor(i).data, got.tensor(i).bytes()), 0)
          << got.arg(i).name << ": other bits in another order: a race";
    }
  }

  RefOps ref_{DType::f32};
  std::vector<std::unique_ptr<Ops>> ops_ = [] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (const emu::Order order : {emu::Order::forward, emu::Order::reversed, emu::Order::shuffled}) {
      ops.push_back(std::make_unique<gpu::GpuOps>(emu::make_emu_gpu(order), DType::f32));
    }
    return ops;
  }();
};

TEST_P(GpuOpsTest, Gelu) {
  gelu_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, SumSquares) {
  sum_squares_cases([this](const Case& c) { check(c); });
}

INSTANTIATE_TEST_SUITE_P(Real, GpuOpsTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace ink
