#include "ink/accelerate/bnns.h"

#include <Accelerate/Accelerate.h>

#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "ink/tensor/cast.h"

#ifdef __clang__
// Deprecated since macOS 15 in favour of compiled graphs, which a training step has no use for.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
#endif

// The product is there from macOS 13 on. Compilers that ask the system at run time do; others link what is there.
#ifdef __APPLE__
#define INK_HAS_BNNS_MATMUL __builtin_available(macOS 13.0, *)
#else
#define INK_HAS_BNNS_MATMUL true
#endif

namespace ink::accelerate {

namespace {

BNNSDataType type_of(DType type) {
  if (type == DType::f16) return BNNSDataTypeFloat16;
  return type == DType::bf16 ? BNNSDataTypeBFloat16 : BNNSDataTypeFloat32;
}

// Row-major, in BNNS's words: value (i, j) is at j · stride[0] + i · stride[1].
BNNSNDArrayDescriptor matrix(DType type, const void* data, int64_t rows, int64_t cols) {
  BNNSNDArrayDescriptor d = {};
  d.layout = BNNSDataLayout2DFirstMajor;
  d.size[0] = static_cast<size_t>(rows);
  d.size[1] = static_cast<size_t>(cols);
  d.stride[0] = 1;
  d.stride[1] = static_cast<size_t>(cols);
  d.data = const_cast<void*>(data);
  d.data_type = type_of(type);
  return d;
}

BNNSNDArrayDescriptor vector(float* data, int64_t n) {
  BNNSNDArrayDescriptor d = {};
  d.layout = BNNSDataLayoutVector;
  d.size[0] = static_cast<size_t>(n);
  d.stride[0] = 1;
  d.data = data;
  d.data_type = BNNSDataTypeFloat32;
  return d;
}

// A product whose result shows whether a or b was rounded further, a small number taken for 0, or the sum kept in less
// than a float. All is exact in floats.
bool is_exact(DType a_type, DType b_type) {
  constexpr int64_t kRows = 3, kDepth = 2, kCols = 2;
  const float fine = a_type == DType::f32 ? 1 + 0x1p-20f : 1 + 0x1p-7f;  // needs all digits of its type
  const float small = b_type == DType::f16 ? 0x1p-24f : 0x1p-126f;       // the smallest that there may be
  const std::array<float, kRows* kDepth> a = {fine, 0, 256, 1, 0, 1};
  const std::array<float, kCols* kDepth> b = {1, 0x1p-8f, 0, small};  // transposed
  std::array<std::byte, sizeof a> a_bytes;
  std::array<std::byte, sizeof b> b_bytes;
  from_f32(a, a_type, a_bytes.data());
  from_f32(b, b_type, b_bytes.data());
  std::array<float, kRows * kCols> out;
  out.fill(std::nanf(""));
  cpu::Scratch workspace;
  const HalfProduct p = {.a_type = a_type,
                         .b_type = b_type,
                         .a = a_bytes.data(),
                         .b = b_bytes.data(),
                         .out = out.data(),
                         .m = kRows,
                         .n = kCols,
                         .k = kDepth,
                         .trans_b = true};
  return Bnns::multiply(p, workspace) &&
         out == std::array<float, kRows * kCols>{fine, 0, 256 + 0x1p-8f, small, 0x1p-8f, small};
}

// As close to GELU as floats allow, also where it nears 0: few formulas are.
bool gelu_is_accurate() {
  std::vector<float> x, y;
  for (int i = -1200; i <= 1200; ++i) x.push_back(0.01f * static_cast<float>(i));
  x.push_back(1e10f);
  y.resize(x.size());
  if (!Bnns::gelu(y.data(), x.data(), static_cast<int64_t>(x.size()))) return false;
  for (size_t i = 0; i < x.size(); ++i) {
    const double u = std::sqrt(2 / M_PI) * (x[i] + 0.044715 * std::pow(double{x[i]}, 3));
    const double exact = x[i] / (1 + std::exp(-2 * u));
    const double bound = 0x1p-23 * (3 + (x[i] < 0 ? 3 * std::abs(u) : 0)) * std::abs(exact) + 1e-15;
    if (!(std::abs(y[i] - exact) <= bound)) return false;
  }
  return true;
}

}  // namespace

Bnns Bnns::probe() {
  Bnns b;
  b.bf16_ = is_exact(DType::bf16, DType::bf16);
  b.f16_weights_ = is_exact(DType::f32, DType::f16);
  b.bf16_weights_ = is_exact(DType::f32, DType::bf16);
  b.gelu_ = gelu_is_accurate();
  return b;
}

bool Bnns::multiplies(DType a_type, DType b_type) const {
  if (a_type == DType::bf16 && b_type == DType::bf16) return bf16_;
  if (a_type != DType::f32) return false;
  return b_type == DType::f16 ? f16_weights_ : b_type == DType::bf16 && bf16_weights_;
}

bool Bnns::multiply(const HalfProduct& p, cpu::Scratch& workspace) {
  if (INK_HAS_BNNS_MATMUL) {
    const BNNSNDArrayDescriptor a = matrix(p.a_type, p.a, p.trans_a ? p.k : p.m, p.trans_a ? p.m : p.k);
    const BNNSNDArrayDescriptor b = matrix(p.b_type, p.b, p.trans_b ? p.n : p.k, p.trans_b ? p.k : p.n);
    const BNNSNDArrayDescriptor out = matrix(DType::f32, p.out, p.m, p.n);
    const ssize_t bytes = BNNSMatMulWorkspaceSize(p.trans_a, p.trans_b, 1, &a, &b, &out, nullptr);
    if (bytes < 0) return false;
    void* memory = workspace.get<std::byte>(static_cast<size_t>(bytes) + 1);
    return BNNSMatMul(p.trans_a, p.trans_b, 1, &a, &b, &out, memory, nullptr) == 0;
  }
  return false;
}

bool Bnns::gelu(float* out, const float* in, int64_t n) {
  BNNSLayerParametersActivation layer = {};
  layer.i_desc = vector(const_cast<float*>(in), n);
  layer.o_desc = vector(out, n);
  layer.activation.function = BNNSActivationFunctionGELUApproximation;
  layer.activation.alpha = 0.7978845608028654f;  // √(2/π)
  layer.activation.beta = 0.044715f;
  return BNNSDirectApplyActivationBatch(&layer, nullptr, 1, 0, 0) == 0;
}

std::string Bnns::description() const {
  std::string uses;
  const auto add = [&](bool used, const char* what) {
    if (used) uses += (uses.empty() ? "BNNS for " : " and ") + std::string(what);
  };
  add(bf16_, "bf16 products");
  add(f16_weights_, "f16 weights");
  add(bf16_weights_, "bf16 weights");
  add(gelu_, "GELU");
  return uses;
}

}  // namespace ink::accelerate
