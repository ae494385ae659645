// The GPU's operations, from the kernels up, against the reference: in the emulator, in three orders of threads and
// blocks that must give the same bits, and on the GPUs of this machine, with activations and weights of f32 and of
// bf16.
#include "ink/gpu/gpu_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ink/gpu/emu/emu_gpu.h"
#include "ink/ref/ref_ops.h"
#include "tests/gpu_devices.h"
#include "tests/ops_cases.h"

namespace ink {
namespace {

class GpuOpsTest : public testing::TestWithParam<DType> {
 protected:
  // The emulator is slow: two cases of k, which is to have no divisor in common with the number of flags.
  Check check_two_of(int k) {
    return [this, k, i = 0](const Case& c) mutable {
      if (i++ % k < 2) check(c);
    };
  }
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
    for (const auto& gpu : gpus_) {
      SCOPED_TRACE(gpu->name());
      Arguments got(c, 0);
      got.round_to(real);
      got.upload(*gpu, real);
      c.run(*gpu, got);
      got.download(*gpu);
      got.expect_intact(before);
      expect_near(c, got, expected);
    }
    int64_t elements = 0;
    for (const Arg& arg : c.args) elements += arg.shape.numel();
    if (elements <= kMostElements && ++small_cases_ % kOneIn == 0) check_non_finite(c);
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

  // One bad element in each input: what is not finite in the reference must not be finite here.
  void check_non_finite(const Case& c) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (size_t i = 0; i < c.args.size(); ++i) {
        if (c.args[i].ids > 0 || c.args[i].role == Role::output || c.args[i].role == Role::scratch) continue;
        Arguments expected(c, 0), got(c, 0);
        for (Arguments* arguments : {&expected, &got}) {
          arguments->tensor(i).f32()[arguments->tensor(i).numel() / 2] = bad;
          arguments->round_to(GetParam());
        }
        c.run(ref_, expected);
        got.upload(*ops_[0], GetParam());
        c.run(*ops_[0], got);
        got.download(*ops_[0]);
        expect_not_lost(got, expected, bad, c.args[i].name);
      }
    }
  }
  static void expect_not_lost(const Arguments& got, const Arguments& expected, float bad, const std::string& input) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).ids > 0 || got.arg(i).role == Role::scratch) continue;
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      for (size_t j = 0; j < g.size(); ++j) {
        ASSERT_TRUE(std::isfinite(e[j]) || !std::isfinite(g[j]))
            << bad << " in " << input << " is lost on the way to " << got.arg(i).name << "[" << j << "]";
      }
    }
  }

  static void expect_same_bits(const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role == Role::scratch) continue;
      ASSERT_EQ(std::memcmp(got.tensor(i).data, expected.tensor(i).data, got.tensor(i).bytes()), 0)
          << got.arg(i).name << ": other bits in another order: a race";
    }
  }

  // The cases that are tried with numbers that are not finite: the emulator is slow.
  static constexpr int64_t kMostElements = 8000;
  static constexpr int kOneIn = 5;
  int small_cases_ = 0;

  RefOps ref_{DType::f32};
  std::vector<std::unique_ptr<Ops>> ops_ = [] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (const emu::Order order : {emu::Order::forward, emu::Order::reversed, emu::Order::shuffled}) {
      ops.push_back(std::make_unique<gpu::GpuOps>(emu::make_emu_gpu(order), DType::f32));
    }
    return ops;
  }();
  ThreadPool pool_{1};
  std::vector<std::unique_ptr<Ops>> gpus_ = [this] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (const std::string& name : present_gpus()) ops.push_back(make_ops(name, pool_));
    return ops;
  }();
};

// Says in the tests' list that only the emulator ran.
TEST(Gpu, IsHere) {
  if (present_gpus().empty()) GTEST_SKIP() << "no GPU that this build knows";
}

TEST_P(GpuOpsTest, Embed) {
  embed_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, AddLayerNorm) { layernorm_cases(check_two_of(5)); }
TEST_P(GpuOpsTest, AddLayerNormBackward) { layernorm_backward_cases(check_two_of(17)); }
TEST_P(GpuOpsTest, Gemm) {
  gemm_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, LargeGemm) {
  large_gemm_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, Classifier) {
  const Check check_some = check_two_of(41);
  classifier_cases([&](const Case& c) {
    // bf16 has logits in the thousands to a few units only: another may be the largest.
    if (GetParam() == DType::f32 || c.args[0].scale == 1) check_some(c);
  });
}
TEST_P(GpuOpsTest, Optimizers) { optimizer_cases(check_two_of(3)); }
TEST_P(GpuOpsTest, Gelu) {
  gelu_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, Cast) { cast_cases(check_two_of(7)); }
TEST_P(GpuOpsTest, SumSquares) {
  sum_squares_cases([this](const Case& c) { check(c); });
}

TEST_P(GpuOpsTest, Attention) {
  attention_cases([this](const Case& c) { check(c); });
}
TEST_P(GpuOpsTest, AttentionBackward) {
  attention_backward_cases([this](const Case& c) { check(c); });
}

INSTANTIATE_TEST_SUITE_P(Real, GpuOpsTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace ink
