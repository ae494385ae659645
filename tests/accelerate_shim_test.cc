// The shim itself, by examples worked out by hand from Apple's documentation: the order of arguments, strides, what may
// be done in place.
#define ACCELERATE_NEW_LAPACK
#define ACCELERATE_LAPACK_ILP64
#include <Accelerate/Accelerate.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "ink/tensor/cast.h"
#include "tests/accelerate_shim/shim.h"

namespace {

using Floats = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

const Floats kA = {1, 2, 3, 4}, kB = {10, 20, 30, 50};
const float kTwo = 2, kThree = 3;

TEST(Vdsp, ElementsOfTwoVectors) {
  Floats c(4);
  vDSP_vadd(kA.data(), 1, kB.data(), 1, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{11, 22, 33, 54}));
  vDSP_vmul(kA.data(), 1, kB.data(), 1, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{10, 40, 90, 200}));
  vDSP_vsq(kA.data(), 1, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{1, 4, 9, 16}));
}

// "Caution: A and B are swapped!": C = A / B, and B is the first argument.
TEST(Vdsp, DivisionTakesTheDivisorFirst) {
  Floats c(4);
  vDSP_vdiv(kA.data(), 1, kB.data(), 1, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{10, 10, 10, 12.5}));
  vDSP_svdiv(&kTwo, kA.data(), 1, c.data(), 1, 4);  // of a scalar it is the numerator
  EXPECT_EQ(c, (Floats{2, 1, 2.0f / 3, 0.5}));
}

TEST(Vdsp, ScalarsComeByAddress) {
  Floats c(4);
  vDSP_vsadd(kA.data(), 1, &kThree, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{4, 5, 6, 7}));
  vDSP_vsmul(kA.data(), 1, &kThree, c.data(), 1, 4);
  EXPECT_EQ(c, (Floats{3, 6, 9, 12}));
  vDSP_vsmsa(kA.data(), 1, &kTwo, &kThree, c.data(), 1, 4);  // A·B + C
  EXPECT_EQ(c, (Floats{5, 7, 9, 11}));
  vDSP_vsma(kA.data(), 1, &kTwo, kB.data(), 1, c.data(), 1, 4);  // A·B + C
  EXPECT_EQ(c, (Floats{12, 24, 36, 58}));
  vDSP_vma(kA.data(), 1, kA.data(), 1, kB.data(), 1, c.data(), 1, 4);  // A·B + C
  EXPECT_EQ(c, (Floats{11, 24, 39, 66}));
  vDSP_vsmsma(kA.data(), 1, &kTwo, kB.data(), 1, &kThree, c.data(), 1, 4);  // A·B + C·D
  EXPECT_EQ(c, (Floats{32, 64, 96, 158}));
}

TEST(Vdsp, StridesCountElements) {
  Floats c(8, -1);
  vDSP_vadd(kA.data(), 2, kB.data(), 3, c.data(), 4, 2);
  EXPECT_EQ(c, (Floats{11, -1, -1, -1, 53, -1, -1, -1}));
  float sum = 0;
  vDSP_sve(kA.data(), 2, &sum, 2);
  EXPECT_EQ(sum, 4);
  vDSP_dotpr(kA.data() + 3, -1, kB.data(), 1, &sum, 4);  // backwards
  EXPECT_EQ(sum, 4 * 10 + 3 * 20 + 2 * 30 + 50);
}

TEST(Vdsp, WorksInPlace) {
  Floats a = kA;
  vDSP_vsmsa(a.data(), 1, &kTwo, &kThree, a.data(), 1, 4);
  EXPECT_EQ(a, (Floats{5, 7, 9, 11}));
  vDSP_vadd(a.data(), 1, a.data(), 1, a.data(), 1, 4);
  EXPECT_EQ(a, (Floats{10, 14, 18, 22}));
  vDSP_vma(kA.data(), 1, kA.data(), 1, a.data(), 1, a.data(), 1, 4);
  EXPECT_EQ(a, (Floats{11, 18, 27, 38}));
}

TEST(Vdsp, Reductions) {
  float c = 0;
  vDSP_sve(kA.data(), 1, &c, 4);
  EXPECT_EQ(c, 10);
  vDSP_meanv(kA.data(), 1, &c, 4);
  EXPECT_EQ(c, 2.5);
  vDSP_measqv(kA.data(), 1, &c, 4);
  EXPECT_EQ(c, 7.5);
  vDSP_maxv(kB.data(), 1, &c, 4);
  EXPECT_EQ(c, 50);
  vDSP_maxv(kB.data(), 1, &c, 0);  // "Output value is -INFINITY" where there is nothing
  EXPECT_EQ(c, -kInfinity);
}

TEST(Vdsp, Clips) {
  const Floats x = {-kInfinity, 1, 2.5, 3.5, kInfinity};
  Floats y(5);
  vDSP_vclip(x.data(), 1, &kTwo, &kThree, y.data(), 1, 5);
  EXPECT_EQ(y, (Floats{2, 2, 2.5, 3, 3}));
}

TEST(Vforce, OutputComesFirstAndTheCountByAddress) {
  const int n = 3;
  const Floats x = {0, 1, -kInfinity};
  Floats y(4, -1);
  vvexpf(y.data(), x.data(), &n);
  EXPECT_EQ(y, (Floats{1, std::exp(1.0f), 0, -1}));
  Floats squares = {4, 9, kInfinity};
  vvsqrtf(squares.data(), squares.data(), &n);
  EXPECT_EQ(squares, (Floats{2, 3, kInfinity}));
}

// a (2,3), b (3,2), c (2,2) within rows of three.
TEST(Blas, SgemmByRowsAndColumns) {
  const Floats a = {1, 2, 3, 4, 5, 6}, at = {1, 4, 2, 5, 3, 6}, b = {1, 0, 2, 1, 0, 3}, bt = {1, 2, 0, 0, 1, 3};
  const Floats expected = {5, 11, -1, 14, 23, -1};
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      Floats c(6, std::nanf(""));  // not to be read
      c[2] = c[5] = -1;
      cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, 2, 2, 3, 1,
                  (ta ? at : a).data(), ta ? 2 : 3, (tb ? bt : b).data(), tb ? 3 : 2, 0, c.data(), 3);
      EXPECT_EQ(c, expected) << ta << tb;
      cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, 2, 2, 3, 2,
                  (ta ? at : a).data(), ta ? 2 : 3, (tb ? bt : b).data(), tb ? 3 : 2, 1, c.data(), 3);
      EXPECT_EQ(c, (Floats{15, 33, -1, 42, 69, -1})) << ta << tb;
    }
  }
  Floats c(4);  // the same numbers by columns are the transposes
  cblas_sgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, 2, 2, 3, 1, at.data(), 2, bt.data(), 3, 0, c.data(), 2);
  EXPECT_EQ(c, (Floats{5, 14, 11, 23}));
}

TEST(BlasDeathTest, RowsThatOverlapAreIllegal) {
  Floats x(9);
  EXPECT_DEATH(
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 3, 1, x.data(), 2, x.data(), 2, 0, x.data(), 2),
      "illegal value");
}

class BnnsTest : public testing::Test {
 protected:
  void TearDown() override { accelerate_shim::set_bnns(accelerate_shim::Bnns::rounding); }

  static BNNSNDArrayDescriptor matrix(BNNSDataLayout layout, size_t size0, size_t size1, BNNSDataType type,
                                      void* data) {
    BNNSNDArrayDescriptor d = {};
    d.layout = layout;
    d.size[0] = size0;
    d.size[1] = size1;
    d.data_type = type;
    d.data = data;
    return d;
  }
};

// First major: value (i, j) is at j · stride[0] + i · stride[1]; last major: at i · stride[0] + j · stride[1].
TEST_F(BnnsTest, MatMulInBothLayouts) {
  Floats a = {1, 2, 3, 4, 5, 6}, at = {1, 4, 2, 5, 3, 6}, b = {1, 0, 2, 1, 0, 3}, c(4);
  auto x = matrix(BNNSDataLayout2DFirstMajor, 2, 3, BNNSDataTypeFloat32, a.data());
  auto y = matrix(BNNSDataLayout2DFirstMajor, 3, 2, BNNSDataTypeFloat32, b.data());
  auto z = matrix(BNNSDataLayout2DFirstMajor, 2, 2, BNNSDataTypeFloat32, c.data());
  x.stride[0] = y.stride[0] = z.stride[0] = 1;
  x.stride[1] = 3;
  y.stride[1] = z.stride[1] = 2;
  ASSERT_GE(BNNSMatMulWorkspaceSize(false, false, 1, &x, &y, &z, nullptr), 0);
  ASSERT_EQ(BNNSMatMul(false, false, 1, &x, &y, &z, nullptr, nullptr), 0);
  EXPECT_EQ(c, (Floats{5, 11, 14, 23}));
  x = matrix(BNNSDataLayout2DLastMajor, 2, 3, BNNSDataTypeFloat32, at.data());  // contiguous without strides
  ASSERT_EQ(BNNSMatMul(false, false, 2, &x, &y, &z, nullptr, nullptr), 0);
  EXPECT_EQ(c, (Floats{10, 22, 28, 46}));
  x = matrix(BNNSDataLayout2DLastMajor, 3, 2, BNNSDataTypeFloat32, a.data());  // aᵀ
  ASSERT_EQ(BNNSMatMul(true, false, 1, &x, &y, &z, nullptr, nullptr), 0);
  EXPECT_EQ(c, (Floats{5, 11, 14, 23}));
}

TEST_F(BnnsTest, RefusesWhatDoesNotFit) {
  Floats memory(64);
  const auto good = matrix(BNNSDataLayout2DFirstMajor, 2, 2, BNNSDataTypeFloat32, memory.data());
  const auto refuses = [&](const BNNSNDArrayDescriptor& x) {
    return BNNSMatMulWorkspaceSize(false, false, 1, &x, &good, &good, nullptr) < 0 &&
           BNNSMatMul(false, false, 1, &x, &good, &good, nullptr, nullptr) != 0;
  };
  EXPECT_FALSE(refuses(good));
  EXPECT_TRUE(refuses(matrix(BNNSDataLayout2DFirstMajor, 2, 3, BNNSDataTypeFloat32, memory.data())));
  EXPECT_TRUE(refuses(matrix(BNNSDataLayoutVector, 2, 2, BNNSDataTypeFloat32, memory.data())));
  EXPECT_TRUE(refuses(matrix(BNNSDataLayout2DFirstMajor, 2, 2, static_cast<BNNSDataType>(0x20000 | 8), memory.data())));
  auto decreasing = good;  // "we require that stride is always increasing"
  decreasing.stride[0] = 2;
  decreasing.stride[1] = 1;
  EXPECT_TRUE(refuses(decreasing));
  accelerate_shim::set_bnns(accelerate_shim::Bnns::absent);
  EXPECT_TRUE(refuses(good));
}

TEST_F(BnnsTest, ActivationsOfABatch) {
  Floats x = {0, 1, -1, 9, 2, -2, 0, 9}, y(6);
  BNNSLayerParametersActivation layer = {};
  layer.i_desc.layout = layer.o_desc.layout = BNNSDataLayoutVector;
  layer.i_desc.data_type = layer.o_desc.data_type = BNNSDataTypeFloat32;
  layer.i_desc.size[0] = layer.o_desc.size[0] = 3;
  layer.i_desc.data = x.data();
  layer.o_desc.data = y.data();
  ASSERT_EQ(BNNSDirectApplyActivationBatch(&layer, nullptr, 2, 4, 3), 0);
  EXPECT_EQ(y, (Floats{0, 1, -1, 2, -2, 0}));
  layer.activation.function = BNNSActivationFunctionTanh;
  ASSERT_EQ(BNNSDirectApplyActivationBatch(&layer, nullptr, 1, 0, 0), 0);
  EXPECT_EQ(y, (Floats{0, std::tanh(1.0f), std::tanh(-1.0f), 2, -2, 0}));
  layer.activation = {.function = BNNSActivationFunctionGELUApproximation, .alpha = 0.7978846f, .beta = 0.044715f};
  ASSERT_EQ(BNNSDirectApplyActivationBatch(&layer, nullptr, 1, 0, 0), 0);
  EXPECT_NEAR(y[1], 0.841192, 1e-6);
  EXPECT_NEAR(y[2], -0.158808, 1e-6);
  layer.o_desc.size[0] = 2;
  EXPECT_NE(BNNSDirectApplyActivationBatch(&layer, nullptr, 1, 0, 0), 0);
}

}  // namespace
