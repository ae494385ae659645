// The gradients of every operation against central differences, in double: the loops tested are the ones the "ref"
// device runs over float.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "ink/ops/ops.h"
#include "ink/ref/kernels.h"

namespace ink {
namespace {

using Values = std::vector<double>;

constexpr double kStep = 1e-5;
constexpr double kTolerance = 1e-6;

class Gradient : public testing::Test {
 protected:
  Values random(int64_t n) {
    Values values(n);
    for (double& x : values) x = normal_(generator_);
    return values;
  }
  std::vector<int32_t> random_ids(int64_t n, int32_t end) {
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = static_cast<int32_t>(generator_() % end);
    return ids;
  }

  // gradient is what the backward pass gave for x, of the scalar that loss computes from x. Errors are relative to the
  // largest element of the gradient.
  static void expect_gradient(const char* name, Values& x, const Values& gradient,
                              const std::function<double()>& loss) {
    ASSERT_EQ(x.size(), gradient.size());
    Values numeric(x.size());
    double largest = 1e-3;
    for (size_t i = 0; i < x.size(); ++i) {
      const double saved = x[i];
      x[i] = saved + kStep;
      const double above = loss();
      x[i] = saved - kStep;
      const double below = loss();
      x[i] = saved;
      numeric[i] = (above - below) / (2 * kStep);
      largest = std::max(largest, std::abs(numeric[i]));
    }
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_LE(std::abs(gradient[i] - numeric[i]), kTolerance * largest) << name << "[" << i << "] of " << x.size();
    }
  }

  // Subtracts what a parameter's gradient held before the backward pass.
  static Values added(const Values& after, const Values& before) {
    Values difference(after.size());
    for (size_t i = 0; i < after.size(); ++i) difference[i] = after[i] - before[i];
    return difference;
  }

  static double dot(const Values& a, const Values& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  std::mt19937 generator_{1234};
  std::normal_distribution<double> normal_;
};

TEST_F(Gradient, Embed) {
  for (const auto& dims : std::vector<std::array<int, 3>>{{1, 1, 1}, {2, 3, 5}, {3, 7, 8}, {2, 5, 17}}) {
    const int B = dims[0], T = dims[1], C = dims[2];
    SCOPED_TRACE(testing::Message() << B << " " << T << " " << C);
    const int V = 6;
    Values wte = random(V * C), wpe = random((T + 1) * C), dout = random(B * T * C);
    const std::vector<int32_t> tokens = random_ids(B * T, V);
    const Values dwte0 = random(wte.size()), dwpe0 = random(wpe.size());
    Values dwte = dwte0, dwpe = dwpe0;
    ref::embed_backward<double>(dwte.data(), dwpe.data(), dout.data(), tokens.data(), B, T, C);
    const auto loss = [&] {
      Values out(dout.size());
      ref::embed<double>(out.data(), tokens.data(), wte.data(), wpe.data(), B, T, C);
      return dot(out, dout);
    };
    expect_gradient("wte", wte, added(dwte, dwte0), loss);
    expect_gradient("wpe", wpe, added(dwpe, dwpe0), loss);
  }
}

TEST_F(Gradient, AddLayerNorm) {
  for (const auto& dims : std::vector<std::array<int, 2>>{{1, 2}, {3, 5}, {2, 16}, {7, 33}}) {
    const int N = dims[0], C = dims[1];
    SCOPED_TRACE(testing::Message() << N << " " << C);
    Values in = random(N * C), residual = random(N * C), weight = random(C), bias = random(C);
    // The sum goes on along the residual stream: its own gradient is dsum0.
    const Values dout = random(N * C), dsum0 = random(N * C), dweight0 = random(C), dbias0 = random(C);
    Values sum(N * C), out(N * C), mean(N), rstd(N);
    const auto loss = [&] {
      ref::add_layernorm<double>(sum.data(), out.data(), mean.data(), rstd.data(), in.data(), residual.data(),
                                 weight.data(), bias.data(), N, C, 1e-5);
      return dot(out, dout) + dot(sum, dsum0);
    };
    loss();
    Values dsum = dsum0, dweight = dweight0, dbias = dbias0;
    ref::add_layernorm_backward<double>(dsum.data(), dweight.data(), dbias.data(), nullptr, dsum.data(), dout.data(),
                                        sum.data(), weight.data(), nullptr, mean.data(), rstd.data(), N, C);
    expect_gradient("in", in, dsum, loss);
    expect_gradient("residual", residual, dsum, loss);
    expect_gradient("weight", weight, added(dweight, dweight0), loss);
    expect_gradient("bias", bias, added(dbias, dbias0), loss);
  }
}

// y = gelu(x · w1ᵀ + b1) · w2ᵀ: the three forms of product, every epilogue.
TEST_F(Gradient, GemmAndGelu) {
  for (const auto& dims : std::vector<std::array<int, 3>>{{1, 1, 1}, {2, 3, 5}, {5, 7, 9}, {3, 17, 8}}) {
    const int N = dims[0], C = dims[1], H = dims[2];
    SCOPED_TRACE(testing::Message() << N << " " << C << " " << H);
    Values x = random(N * C), w1 = random(H * C), b1 = random(H), w2 = random(C * H);
    const Values dy = random(N * C), dw1_0 = random(w1.size()), db1_0 = random(H), dw2_0 = random(w2.size());
    Values pre(N * H), hidden(N * H), y(N * C);
    using Args = ref::GemmArgs<double>;
    const auto loss = [&] {
      ref::gemm(Args{.a = x.data(),
                     .b = w1.data(),
                     .bias = b1.data(),
                     .out = hidden.data(),
                     .gelu_in = pre.data(),
                     .trans_b = true,
                     .M = N,
                     .N = H,
                     .K = C});
      ref::gemm(Args{.a = hidden.data(), .b = w2.data(), .out = y.data(), .trans_b = true, .M = N, .N = C, .K = H});
      return dot(y, dy);
    };
    loss();
    Values dpre(N * H), dx(N * C), dw1 = dw1_0, db1 = db1_0, dw2 = dw2_0;
    ref::gemm(Args{.a = dy.data(),
                   .b = hidden.data(),
                   .out = dw2.data(),
                   .trans_a = true,
                   .accumulate = true,
                   .M = C,
                   .N = H,
                   .K = N});
    ref::gemm(Args{.a = dy.data(), .b = w2.data(), .out = dpre.data(), .dgelu_in = pre.data(), .M = N, .N = H, .K = C});
    ref::gemm(Args{.a = dpre.data(),
                   .b = x.data(),
                   .out = dw1.data(),
                   .dbias = db1.data(),
                   .trans_a = true,
                   .accumulate = true,
                   .M = H,
                   .N = C,
                   .K = N});
    ref::gemm(Args{.a = dpre.data(), .b = w1.data(), .out = dx.data(), .M = N, .N = C, .K = H});
    expect_gradient("x", x, dx, loss);
    expect_gradient("w1", w1, added(dw1, dw1_0), loss);
    expect_gradient("b1", b1, added(db1, db1_0), loss);
    expect_gradient("w2", w2, added(dw2, dw2_0), loss);
    Values again(N * H);
    ref::gelu(again.data(), pre.data(), N * H);
    EXPECT_EQ(again, hidden);
  }
}

TEST_F(Gradient, Attention) {
  for (const auto& dims : std::vector<std::array<int, 4>>{{1, 1, 1, 1}, {2, 3, 2, 5}, {1, 7, 3, 4}, {2, 9, 1, 3}}) {
    const int B = dims[0], T = dims[1], NH = dims[2], HS = dims[3];
    SCOPED_TRACE(testing::Message() << B << " " << T << " " << NH << " " << HS);
    const int C = NH * HS;
    Values qkv = random(B * T * 3 * C);
    const Values dout = random(B * T * C);
    Values out(B * T * C), lse(B * NH * T), delta(B * NH * T), dqkv(qkv.size(), std::nan(""));
    const auto loss = [&] {
      ref::attention<double>(out.data(), lse.data(), qkv.data(), B, T, C, NH);
      return dot(out, dout);
    };
    loss();
    ref::attention_backward<double>(dqkv.data(), delta.data(), dout.data(), qkv.data(), out.data(), lse.data(), B, T, C,
                                    NH);
    expect_gradient("qkv", qkv, dqkv, loss);
  }
}

TEST_F(Gradient, Classifier) {
  for (const auto& dims : std::vector<std::array<int, 4>>{{1, 1, 1, 1}, {3, 5, 7, 8}, {5, 8, 17, 17}, {2, 3, 9, 16}}) {
    const int N = dims[0], C = dims[1], V = dims[2], Vp = dims[3];
    SCOPED_TRACE(testing::Message() << N << " " << C << " " << V << " " << Vp);
    const double dloss = 0.7;
    Values x = random(N * C), weight = random(Vp * C), losses(N), logits(Vp);
    const std::vector<int32_t> targets = random_ids(N, V);
    const auto loss = [&] {
      ref::classifier<double>(losses.data(), nullptr, nullptr, logits.data(), x.data(), weight.data(), targets.data(),
                              N, C, V, Vp, dloss, true);
      return dloss * dot(losses, Values(N, 1.0));
    };
    const double expected = loss();
    const Values dweight0 = random(weight.size());
    Values dx(N * C, std::nan("")), dweight = dweight0;
    ref::classifier<double>(losses.data(), dx.data(), dweight.data(), logits.data(), x.data(), weight.data(),
                            targets.data(), N, C, V, Vp, dloss, true);
    EXPECT_EQ(dloss * dot(losses, Values(N, 1.0)), expected);
    expect_gradient("x", x, dx, loss);
    expect_gradient("weight", weight, added(dweight, dweight0), loss);
    for (int i = V * C; i < Vp * C; ++i) EXPECT_EQ(dweight[i], dweight0[i]) << "padding";
    Values anew(weight.size(), std::nan(""));
    ref::classifier<double>(losses.data(), dx.data(), anew.data(), logits.data(), x.data(), weight.data(),
                            targets.data(), N, C, V, Vp, dloss, false);
    expect_gradient("weight", weight, anew, loss);
  }
}

// Against numbers worked out by hand, as PyTorch's torch.optim.AdamW and SGD give them.
TEST(OptimizerFormula, AdamW) {
  double param = 1, grad = 4, m = 0.5, v = 0.25;
  const AdamW a{
      .lr = 0.5f, .beta1 = 0.5f, .beta2 = 0.75f, .eps = 0.125f, .weight_decay = 0.25f, .grad_scale = 0.5f, .step = 2};
  ref::adamw(&param, &grad, &m, &v, 1, a);
  // g = 2; m = 0.25 + 1; v = 0.1875 + 1; corrected by 0.75 and 0.4375.
  EXPECT_DOUBLE_EQ(m, 1.25);
  EXPECT_DOUBLE_EQ(v, 1.1875);
  EXPECT_DOUBLE_EQ(param, 1 - 0.5 * (1.25 / 0.75 / (std::sqrt(1.1875 / 0.4375) + 0.125) + 0.25));
}

TEST(OptimizerFormula, Sgd) {
  double param = 2, grad = 3, m = 1;
  const Sgd a{.lr = 0.5f, .momentum = 0.25f, .weight_decay = 0.125f, .grad_scale = 2};
  ref::sgd(&param, &grad, &m, 1, a);
  EXPECT_DOUBLE_EQ(m, 0.25 + 6 + 0.25);
  EXPECT_DOUBLE_EQ(param, 2 - 0.5 * 6.5);
}

}  // namespace
}  // namespace ink
