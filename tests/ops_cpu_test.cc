// The cpu device against the reference: every operation over odd sizes, with every flag. Each case also checks that any
// number of threads gives the same bits, that NaN and infinity come through, that nothing outside the outputs is
// written, and that a second run allocates nothing.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ink/ops/device.h"
#include "ink/ref/kernels.h"
#include "tests/count_allocations.h"
#include "tests/ops_cases.h"

namespace ink {
namespace {

const std::vector<int64_t> kTargets = hwy::SupportedAndGeneratedTargets();  // the best first

struct DeviceTarget {
  std::string device;
  int64_t target;
  DType products = DType::f32;
};

// cpu under every instruction set that this machine has and the kernels were built for, and its variants with
// libraries, where they are linked; and with bf16 products, by instructions for them and by rounding.
std::vector<DeviceTarget> devices_and_targets() {
  std::vector<DeviceTarget> all;
  for (const int64_t target : kTargets) all.push_back({"cpu", target});
  for (const DeviceInfo& device : devices()) {
    if (device.name.starts_with("cpu-")) all.push_back({device.name, kTargets.front()});
    if (device.name != "accelerate") continue;
    for (const DType products : {DType::f32, DType::bf16}) all.push_back({device.name, kTargets.front(), products});
  }
  all.push_back({"cpu", kTargets.front(), DType::bf16});
  if (kTargets.size() > 1) all.push_back({"cpu", kTargets.back(), DType::bf16});  // no instructions for it there
#ifdef INK_ONLY_DEVICE
  std::erase_if(all, [](const DeviceTarget& t) { return t.device != INK_ONLY_DEVICE; });
#endif
  return all;
}

class CpuOps : public testing::TestWithParam<DeviceTarget> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam().target);
    ASSERT_TRUE(cpu_[0]->description().starts_with(hwy::TargetName(GetParam().target)));
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  void check(const Case& c) {
    SCOPED_TRACE(c.name);
    const Arguments before(c, 0);
    Arguments expected(c, 0);
    c.run(*ref_, expected);
    expected.expect_intact(before);
    Arguments first(c, 0);
    c.run(*cpu_[0], first);
    first.expect_intact(before);
    expect_near(c, first, expected);
    for (size_t i = 1; i < cpu_.size(); ++i) {
      SCOPED_TRACE(testing::Message() << i + 1 << " threads");
      Arguments more(c, 0);
      c.run(*cpu_[i], more);
      expect_same_bits(more, first);
    }
    SCOPED_TRACE("misaligned");
    Arguments misaligned(c, 1);
    c.run(*cpu_[1], misaligned);
    misaligned.expect_intact(before);
    if (GetParam().device == "accelerate") {  // Apple promises no bits: at other addresses they may be others
      expect_near(c, misaligned, expected);
    } else {
      expect_same_bits(misaligned, first);
    }
    if (GetParam().target != kTargets.front()) return;  // the rest is the same for all
    check_allocations(c);
    check_non_finite(c);
  }

 private:
  static void expect_near(const Case& c, const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role != Role::inout && got.arg(i).role != Role::output) continue;
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      double largest = c.scale;
      for (const float x : e) largest = std::max(largest, std::abs(double{x}));
      const double bound = kEpsilon * (4 + 2 * std::sqrt(static_cast<double>(c.length))) * largest;
      for (size_t j = 0; j < g.size(); ++j) {
        ASSERT_LE(std::abs(double{g[j]} - e[j]), bound)
            << got.arg(i).name << "[" << j << "] is " << g[j] << ", not " << e[j];
      }
    }
  }

  static void expect_same_bits(const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role == Role::scratch) continue;
      ASSERT_EQ(std::memcmp(got.tensor(i).data, expected.tensor(i).data, got.tensor(i).bytes()), 0) << got.arg(i).name;
    }
  }

  void check_allocations(const Case& c) {
    Arguments again(c, 0);
    const int64_t before = allocations();
    c.run(*cpu_[1], again);
    EXPECT_EQ(allocations() - before, 0) << "allocations in a second run";
  }

  // One bad element in each input: what is not finite in the reference must not be finite here.
  void check_non_finite(const Case& c) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (size_t i = 0; i < c.args.size(); ++i) {
        if (c.args[i].ids > 0 || c.args[i].role == Role::output || c.args[i].role == Role::scratch) continue;
        Arguments expected(c, 0), got(c, 0);
        const int64_t place = expected.tensor(i).numel() / 2;
        expected.tensor(i).f32()[place] = got.tensor(i).f32()[place] = bad;
        c.run(*ref_, expected);
        c.run(*cpu_[1], got);
        for (size_t k = 0; k < c.args.size(); ++k) {
          if (c.args[k].ids > 0 || c.args[k].role == Role::scratch) continue;
          const std::span<float> g = got.tensor(k).span<float>(), e = expected.tensor(k).span<float>();
          for (size_t j = 0; j < g.size(); ++j) {
            ASSERT_TRUE(std::isfinite(e[j]) || !std::isfinite(g[j]))
                << bad << " in " << c.args[i].name << " is lost on the way to " << c.args[k].name << "[" << j << "]";
          }
        }
      }
    }
  }

  ThreadPool one_{1}, two_{2}, three_{3};
  std::unique_ptr<Ops> ref_ = make_ops("ref", one_, GetParam().products);
  std::vector<std::unique_ptr<Ops>> cpu_ = [this] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (ThreadPool* pool : {&one_, &two_, &three_})
      ops.push_back(make_ops(GetParam().device, *pool, GetParam().products));
    return ops;
  }();
};

TEST_P(CpuOps, Embed) {
  embed_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, AddLayerNorm) {
  layernorm_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, AddLayerNormBackward) {
  layernorm_backward_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, Gemm) {
  gemm_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, GemmOfManyTiles) {
  large_gemm_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, Gelu) {
  gelu_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, Attention) {
  attention_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, AttentionBackward) {
  attention_backward_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, Classifier) {
  classifier_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, Optimizers) {
  optimizer_cases([this](const Case& c) { check(c); });
}
TEST_P(CpuOps, SumSquares) {
  sum_squares_cases([this](const Case& c) { check(c); });
}

// What is not kept from the forward pass comes back bit for bit.
TEST_P(CpuOps, AddLayerNormBackwardGivesTheOutputAgain) {
  const Case forward = layernorm_case(70, 769, Sum::none);
  Arguments f(forward, 0);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  forward.run(*cpu, f);
  std::vector<float> dsum(70 * 769), out(dsum.size()), dweight(769), dbias(769);
  const auto tensor = [](std::vector<float>& v, const Shape& shape) { return Tensor(v.data(), DType::f32, shape); };
  cpu->add_layernorm_backward({.dsum = tensor(dsum, {70, 769}),
                               .dweight = tensor(dweight, {769}),
                               .dbias = tensor(dbias, {769}),
                               .out = tensor(out, {70, 769}),
                               .dout = f["out"],
                               .sum = f["residual"],
                               .weight = f["weight"],
                               .bias = f["bias"],
                               .mean = f["mean"],
                               .rstd = f["rstd"]});
  EXPECT_EQ(std::memcmp(out.data(), f["out"].data, f["out"].bytes()), 0);
}

TEST_P(CpuOps, ClassifierLeavesThePaddingAlone) {
  const Case c = classifier_case(5, 8, 7, 16, 2, true);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  const Arguments before(c, 0), after(c, 0);
  c.run(*cpu, after);
  for (int64_t i = 7 * 8; i < 16 * 8; ++i) EXPECT_EQ(after["dweight"].f32()[i], before["dweight"].f32()[i]);
  const Case anew = classifier_case(5, 8, 7, 16, 2, true, false);
  const Arguments written(anew, 0);
  anew.run(*cpu, written);
  for (int64_t i = 7 * 8; i < 16 * 8; ++i) EXPECT_EQ(written["dweight"].f32()[i], 0);
}

// In double: squares that overflow or vanish in float.
TEST_P(CpuOps, SumSquaresIsInDouble) {
  std::vector<float> x(1000, 1e30f);
  std::fill(x.begin() + 500, x.end(), 1e-30f);
  ThreadPool pool(2);
  const double sum =
      make_ops(GetParam().device, pool, GetParam().products)->sum_squares(Tensor(x.data(), DType::f32, {1000}));
  EXPECT_NEAR(sum / 5e62, 1.0, 1e-6);
}

TEST_P(CpuOps, AllFiniteFindsOneBadElementAnywhere) {
  ThreadPool pool(2);
  for (const std::string& device : {GetParam().device, std::string("ref")}) {
    const std::unique_ptr<Ops> ops = make_ops(device, pool);
    for (const int64_t n : {1, 5, 16, 33, 40000}) {
      std::vector<float> x(n, std::numeric_limits<float>::max());
      const Tensor t(x.data(), DType::f32, {n});
      EXPECT_TRUE(ops->all_finite(t));
      for (const int64_t place : {int64_t{0}, n / 2, n - 1}) {
        for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
          x[place] = bad;
          EXPECT_FALSE(ops->all_finite(t)) << device << " " << n << " " << place << " " << bad;
          EXPECT_FALSE(std::isfinite(ops->sum_squares(t)));
          x[place] = 1;
        }
      }
    }
  }
}

// x · 1 is x rounded, for ties, the largest numbers, infinity and NaN too, at odd depths as well.
TEST_P(CpuOps, ProductsRoundTheirInputs) {
  std::vector<float> x;
  for (uint32_t upper = 0; upper < 0x10000; upper += 7) {
    if ((upper & 0x7f80) == 0) continue;  // subnormal
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> a(3), out(n);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  const auto tensor = [](std::vector<float>& v, const Shape& shape) { return Tensor(v.data(), DType::f32, shape); };
  for (const int64_t k : {1, 2, 3}) {  // x in the last row of b, zeros above
    std::fill(a.begin(), a.end(), 0.0f);
    a[k - 1] = 1;
    std::vector<float> b(k * n);
    std::copy(x.begin(), x.end(), b.end() - n);
    cpu->gemm({.a = tensor(a, {1, k}), .b = tensor(b, {k, n}), .out = tensor(out, {1, n})});
    for (int64_t i = 0; i < n; ++i) {
      const float expected = GetParam().products == DType::bf16 ? bf16_to_f32(f32_to_bf16(x[i])) : x[i];
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(out[i])) << std::bit_cast<uint32_t>(x[i]);
      } else {
        ASSERT_EQ(out[i], expected) << std::bit_cast<uint32_t>(x[i]);
      }
    }
  }
}

// gelu in float knows e^-2u, u its argument, to a few times |u| roundings; the slope lies between -0.13 and 1.13.
TEST_P(CpuOps, GeluIsAccurate) {
  const int64_t n = 240001;
  std::vector<float> x(n), y(n), slope(n), one = {1};
  const std::vector<float> ones(n, 1.0f);
  for (int64_t i = 0; i < n; ++i) x[i] = -12 + 1e-4f * static_cast<float>(i);
  const auto tensor = [](const std::vector<float>& v, const Shape& shape) {
    return Tensor(const_cast<float*>(v.data()), DType::f32, shape);
  };
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  cpu->gelu({.out = tensor(y, {n}), .in = tensor(x, {n})});
  cpu->gemm({.a = tensor(one, {1, 1}),
             .b = tensor(ones, {1, n}),
             .out = tensor(slope, {1, n}),
             .dgelu_in = tensor(x, {1, n})});
  for (int64_t i = 0; i < n; ++i) {
    const double value = ref::gelu_value(x[i]), u = 0.8 * std::abs(x[i] + 0.045 * std::pow(x[i], 3));
    ASSERT_LE(std::abs(y[i] - value), kEpsilon * (3 + (x[i] < 0 ? 3 * u : 0)) * std::abs(value) + 1e-15) << x[i];
    ASSERT_LE(std::abs(slope[i] - ref::gelu_slope(x[i])), 4 * kEpsilon) << x[i];
  }
  // Far out: where squares of x overflow.
  for (const float far : {30.0f, 1e10f, 1e30f}) {
    std::vector<float> in = {far, -far}, out(2), slopes(2);
    cpu->gelu({.out = tensor(out, {2}), .in = tensor(in, {2})});
    cpu->gemm({.a = tensor(one, {1, 1}),
               .b = tensor(ones, {1, 2}),
               .out = tensor(slopes, {1, 2}),
               .dgelu_in = tensor(in, {1, 2})});
    EXPECT_EQ(out[0], far);
    EXPECT_NEAR(out[1] / far, 0, 1e-30);
    EXPECT_EQ(slopes[0], 1);
    EXPECT_NEAR(slopes[1], 0, 1e-30);
  }
}

INSTANTIATE_TEST_SUITE_P(Target, CpuOps, testing::ValuesIn(devices_and_targets()), [](const auto& i) {
  std::string name = i.param.device + "_" + hwy::TargetName(i.param.target);
  if (i.param.products == DType::bf16) name += "_bf16";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace ink
