// The accelerate device where Accelerate is less than its best: what BNNS lacks, or does in its own way, is done by the
// rest. The operations themselves are tested with those of the cpu device.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ink/accelerate/accelerate_ops.h"
#include "ink/accelerate/bnns.h"
#include "ink/base/parallel_gcd.h"
#include "ink/ops/device.h"
#include "ink/tensor/cast.h"
#include "tests/accelerate_shim/shim.h"

namespace ink {
namespace {

using accelerate::Bnns;
using Behaviour = accelerate_shim::Bnns;

class Accelerate : public testing::Test {
 protected:
  void TearDown() override { accelerate_shim::set_bnns(Behaviour::rounding); }

  std::unique_ptr<Ops> make(Behaviour behaviour, DType products = DType::f32) {
    accelerate_shim::set_bnns(behaviour);
    return make_ops("accelerate", pool_, products);
  }
  ThreadPool pool_{2};
};

std::vector<float> random(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

TEST_F(Accelerate, BnnsIsUsedOnlyAsFarAsItIsExact) {
  const auto uses = [&](Behaviour behaviour) {
    accelerate_shim::set_bnns(behaviour);
    const Bnns bnns = Bnns::probe();
    EXPECT_FALSE(bnns.multiplies(DType::f32, DType::f32));
    EXPECT_FALSE(bnns.multiplies(DType::f16, DType::f16));
    return bnns.description();
  };
  EXPECT_EQ(uses(Behaviour::exact), "BNNS for bf16 products and f16 weights and bf16 weights and GELU");
  EXPECT_EQ(uses(Behaviour::rounding), "BNNS for bf16 products");
  EXPECT_EQ(uses(Behaviour::halves), "BNNS for GELU");
  EXPECT_EQ(uses(Behaviour::flushing), "BNNS for GELU");
  EXPECT_EQ(uses(Behaviour::late), "BNNS for GELU");
  EXPECT_EQ(uses(Behaviour::absent), "");
  EXPECT_EQ(Bnns().description(), "");
}

TEST_F(Accelerate, DescribesItself) {
  const std::string line = make(Behaviour::exact, DType::bf16)->description();
  EXPECT_NE(line.find("Accelerate's BLAS, vDSP and vForce, BNNS for bf16 products"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with(", bf16 products, 2 threads beside its own")) << line;
  EXPECT_EQ(make(Behaviour::absent)->description().find("BNNS"), std::string::npos);
  EXPECT_EQ(make(Behaviour::exact)->name(), "accelerate");
}

// With the products of every kind of weights, and what the gradients of parameters need.
TEST_F(Accelerate, ProductsAreTheSameWithoutBnns) {
  constexpr int64_t M = 40, N = 50, K = 70;
  const std::vector<float> a = random(M * K, 1), b = random(N * K, 2), before = random(M * N, 3);
  const auto tensor = [](const std::vector<float>& x, const Shape& shape) {
    return Tensor(const_cast<float*>(x.data()), DType::f32, shape);
  };
  std::vector<std::byte> memory(bytes_of(DType::f32, N * K));
  for (const DType products : {DType::f32, DType::bf16}) {
    const std::unique_ptr<Ops> ref = make_ops("ref", pool_, products);
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      from_f32(b, type, memory.data());
      for (const Behaviour behaviour : {Behaviour::exact, Behaviour::rounding, Behaviour::late, Behaviour::absent}) {
        for (const bool transposed : {false, true}) {  // a; f32 only
          for (const bool accumulate : {false, true}) {
            if (type != DType::f32 && (transposed || accumulate)) continue;
            std::vector<float> got = before, expected = before;
            const auto run = [&](Ops& ops, std::vector<float>& out) {
              ops.gemm({.a = tensor(a, transposed ? Shape{K, M} : Shape{M, K}),
                        .b = Tensor(memory.data(), type, transposed ? Shape{K, N} : Shape{N, K}),
                        .out = tensor(out, {M, N}),
                        .trans_a = transposed,
                        .trans_b = !transposed,
                        .accumulate = accumulate});
            };
            run(*make(behaviour, products), got);
            run(*ref, expected);
            for (int64_t i = 0; i < M * N; ++i) {
              ASSERT_NEAR(got[i], expected[i], 1e-4)
                  << name_of(products) << " " << name_of(type) << " " << static_cast<int>(behaviour);
            }
          }
        }
      }
    }
  }
}

// A machine may promise more in its probe than it holds later.
TEST_F(Accelerate, ARefusalLaterIsNoHarm) {
  constexpr int64_t n = 5000;
  const std::vector<float> x = random(n, 4);
  std::vector<float> got(n), expected(n), out(30 * 40);
  const auto tensor = [](const std::vector<float>& v, const Shape& shape) {
    return Tensor(const_cast<float*>(v.data()), DType::f32, shape);
  };
  const std::unique_ptr<Ops> ops = make(Behaviour::exact, DType::bf16);
  ops->gelu({.out = tensor(expected, {n}), .in = tensor(x, {n})});
  accelerate_shim::set_bnns(Behaviour::absent);
  ops->gelu({.out = tensor(got, {n}), .in = tensor(x, {n})});
  for (int64_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], expected[i], 1e-6f);
  ops->gemm({.a = tensor(x, {30, 20}), .b = tensor(x, {20, 40}), .out = tensor(out, {30, 40})});
  EXPECT_TRUE(std::isfinite(out[7]));
  EXPECT_NE(out[7], 0);
}

TEST(Gcd, RunsEveryTaskOnceOnSoManyThreadsAtMost) {
  for (const int threads : {1, 2, 5}) {
    struct Body {
      std::vector<std::atomic<int>> runs = std::vector<std::atomic<int>>(1000);
      std::atomic<int> running{0}, most{0};
    } body;
    run_on_gcd(
        threads, 1000,
        [](const void* pointer, int64_t task) noexcept {
          auto& b = *static_cast<Body*>(const_cast<void*>(pointer));
          const int now = ++b.running;
          int most = b.most;
          while (most < now && !b.most.compare_exchange_weak(most, now)) {
          }
          ++b.runs[task];
          --b.running;
        },
        &body);
    for (const std::atomic<int>& runs : body.runs) ASSERT_EQ(runs, 1);
    EXPECT_LE(body.most, threads);
    EXPECT_EQ(body.running, 0);
  }
}

TEST_F(Accelerate, GeluInPlaceHasTheSameBits) {
  constexpr int64_t n = 5000;
  for (const Behaviour behaviour : {Behaviour::exact, Behaviour::absent}) {
    std::vector<float> x = random(n, 5), apart(n);
    const Tensor in(x.data(), DType::f32, {n}), out(apart.data(), DType::f32, {n});
    const std::unique_ptr<Ops> ops = make(behaviour);
    ops->gelu({.out = out, .in = in});
    ops->gelu({.out = in, .in = in});
    EXPECT_EQ(x, apart);
  }
}

}  // namespace
}  // namespace ink
