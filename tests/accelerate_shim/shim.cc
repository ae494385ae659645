// Each function as Apple documents it: vDSP and vForce in the comments of their headers, BLAS by its reference, BNNS in
// the comments of its headers. Sums are kept in float and in order, the least that one may expect of the library.
#include "tests/accelerate_shim/shim.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#define ACCELERATE_NEW_LAPACK
#define ACCELERATE_LAPACK_ILP64
#include <Accelerate/Accelerate.h>
#include <dispatch/dispatch.h>

#include "ink/tensor/cast.h"

namespace {

using accelerate_shim::Bnns;
std::atomic<Bnns> bnns_behaviour{Bnns::rounding};

// c[n·ic] = value(n) for n in [0, count)
template <class Value>
void map(float* c, vDSP_Stride ic, vDSP_Length count, const Value& value) {
  for (vDSP_Stride i = 0; i < static_cast<vDSP_Stride>(count); ++i) c[i * ic] = value(i);
}

template <class Value>
float sum(vDSP_Length count, const Value& value) {
  float total = 0;
  for (vDSP_Stride i = 0; i < static_cast<vDSP_Stride>(count); ++i) total += value(i);
  return total;
}

bool is_float(BNNSDataType type) {
  return type == BNNSDataTypeFloat16 || type == BNNSDataTypeFloat32 || type == BNNSDataTypeBFloat16;
}

ink::DType dtype(BNNSDataType type) {
  if (type == BNNSDataTypeFloat16) return ink::DType::f16;
  return type == BNNSDataTypeBFloat16 ? ink::DType::bf16 : ink::DType::f32;
}

float rounded(float x, ink::DType type) {
  if (type == ink::DType::f32) return x;
  std::byte memory[4];
  ink::from_f32({&x, 1}, type, memory);
  ink::to_f32(type, memory, {&x, 1});
  return x;
}

// A matrix that a descriptor describes. A stride of 0 means contiguous along that axis.
struct Matrix {
  const BNNSNDArrayDescriptor& d;
  size_t stride0, stride1;

  explicit Matrix(const BNNSNDArrayDescriptor& descriptor) : d(descriptor) {
    const bool last_major = d.layout == BNNSDataLayout2DLastMajor;
    stride0 = d.stride[0] != 0 ? d.stride[0] : 1;
    stride1 = d.stride[1] != 0 ? d.stride[1] : stride0 * d.size[last_major ? 0 : 1];
  }
  bool is_valid() const {
    const bool matrix = d.layout == BNNSDataLayout2DLastMajor || d.layout == BNNSDataLayout2DFirstMajor;
    return matrix && is_float(d.data_type) && d.size[0] > 0 && d.size[1] > 0 && stride1 >= stride0;
  }
  size_t index(size_t i, size_t j) const {
    return d.layout == BNNSDataLayout2DLastMajor ? i * stride0 + j * stride1 : j * stride0 + i * stride1;
  }
  float get(size_t i, size_t j) const {
    const ink::DType type = dtype(d.data_type);
    float x = 0;
    ink::to_f32(type, static_cast<const std::byte*>(d.data) + index(i, j) * ink::bytes_of(type, 1), {&x, 1});
    return x;
  }
  void set(size_t i, size_t j, float x) const {
    const ink::DType type = dtype(d.data_type);
    ink::from_f32({&x, 1}, type, static_cast<std::byte*>(d.data) + index(i, j) * ink::bytes_of(type, 1));
  }
};

float gelu(float x, float alpha, float beta) {
  if (bnns_behaviour == Bnns::rounding) return 0.5f * x * (1.0f + std::tanh(alpha * (x + beta * x * x * x)));
  const double u = std::sqrt(2 / M_PI) * (double{x} + 0.044715 * std::pow(double{x}, 3));
  return static_cast<float>(x / (1 + std::exp(-2 * u)));
}

}  // namespace

void accelerate_shim::set_bnns(Bnns behaviour) { bnns_behaviour = behaviour; }

void vDSP_vadd(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic,
               vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] + b[i * ib]; });
}
void vDSP_vmul(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic,
               vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] * b[i * ib]; });
}
void vDSP_vdiv(const float* b, vDSP_Stride ib, const float* a, vDSP_Stride ia, float* c, vDSP_Stride ic,
               vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] / b[i * ib]; });
}
void vDSP_vsq(const float* a, vDSP_Stride ia, float* c, vDSP_Stride ic, vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] * a[i * ia]; });
}
void vDSP_vsadd(const float* a, vDSP_Stride ia, const float* b, float* c, vDSP_Stride ic, vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] + *b; });
}
void vDSP_vsmul(const float* a, vDSP_Stride ia, const float* b, float* c, vDSP_Stride ic, vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return a[i * ia] * *b; });
}
void vDSP_svdiv(const float* a, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic, vDSP_Length n) {
  map(c, ic, n, [&](vDSP_Stride i) { return *a / b[i * ib]; });
}
void vDSP_vsmsa(const float* a, vDSP_Stride ia, const float* b, const float* c, float* d, vDSP_Stride id,
                vDSP_Length n) {
  map(d, id, n, [&](vDSP_Stride i) { return a[i * ia] * *b + *c; });
}
void vDSP_vsma(const float* a, vDSP_Stride ia, const float* b, const float* c, vDSP_Stride ic, float* d, vDSP_Stride id,
               vDSP_Length n) {
  map(d, id, n, [&](vDSP_Stride i) { return a[i * ia] * *b + c[i * ic]; });
}
void vDSP_vma(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, const float* c, vDSP_Stride ic, float* d,
              vDSP_Stride id, vDSP_Length n) {
  map(d, id, n, [&](vDSP_Stride i) { return a[i * ia] * b[i * ib] + c[i * ic]; });
}
void vDSP_vsmsma(const float* a, vDSP_Stride ia, const float* b, const float* c, vDSP_Stride ic, const float* d,
                 float* e, vDSP_Stride ie, vDSP_Length n) {
  map(e, ie, n, [&](vDSP_Stride i) { return a[i * ia] * *b + c[i * ic] * *d; });
}
void vDSP_vclip(const float* a, vDSP_Stride ia, const float* low, const float* high, float* d, vDSP_Stride id,
                vDSP_Length n) {
  // A NaN may come out as either bound: vDSP does not promise IEEE 754's handling of it.
  map(d, id, n, [&](vDSP_Stride i) { return std::isnan(a[i * ia]) ? *low : std::clamp(a[i * ia], *low, *high); });
}

void vDSP_sve(const float* a, vDSP_Stride ia, float* c, vDSP_Length n) {
  *c = sum(n, [&](vDSP_Stride i) { return a[i * ia]; });
}
void vDSP_meanv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n) {
  vDSP_sve(a, ia, c, n);
  *c /= static_cast<float>(n);
}
void vDSP_measqv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n) {
  vDSP_dotpr(a, ia, a, ia, c, n);
  *c /= static_cast<float>(n);
}
void vDSP_maxv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n) {
  *c = -std::numeric_limits<float>::infinity();
  for (vDSP_Stride i = 0; i < static_cast<vDSP_Stride>(n); ++i) *c = std::max(*c, a[i * ia]);
}
void vDSP_dotpr(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Length n) {
  *c = sum(n, [&](vDSP_Stride i) { return a[i * ia] * b[i * ib]; });
}

// "vForce may treat some or all denormal numbers as zero."
void vvexpf(float* y, const float* x, const int* n) {
  for (int i = 0; i < *n; ++i) {
    const float e = std::exp(x[i]);
    y[i] = e < std::numeric_limits<float>::min() ? 0 : e;
  }
}
void vvsqrtf(float* y, const float* x, const int* n) {
  for (int i = 0; i < *n; ++i) y[i] = std::fpclassify(x[i]) == FP_SUBNORMAL ? 0 : std::sqrt(x[i]);
}

void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE trans_a, enum CBLAS_TRANSPOSE trans_b, __LAPACK_int m,
                 __LAPACK_int n, __LAPACK_int k, float alpha, const float* a, __LAPACK_int lda, const float* b,
                 __LAPACK_int ldb, float beta, float* c, __LAPACK_int ldc) {
  if (order == CblasColMajor) {  // the transposes of all: cᵀ = op(b)ᵀ · op(a)ᵀ
    return cblas_sgemm(CblasRowMajor, trans_b, trans_a, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc);
  }
  const bool ta = trans_a != CblasNoTrans, tb = trans_b != CblasNoTrans;
  if (m < 0 || n < 0 || k < 0 || lda < std::max(1L, ta ? m : k) || ldb < std::max(1L, tb ? k : n) ||
      ldc < std::max(1L, n)) {
    std::fprintf(stderr, "cblas_sgemm: illegal value of a parameter\n");  // as BLAS: no way back
    std::abort();
  }
  static thread_local std::vector<float> rows, sums;  // of op(b), of a row of c
  rows.resize(static_cast<size_t>(k * n));
  sums.resize(static_cast<size_t>(n));
  for (__LAPACK_int l = 0; l < k; ++l) {
    for (__LAPACK_int j = 0; j < n; ++j) rows[l * n + j] = b[tb ? j * ldb + l : l * ldb + j];
  }
  for (__LAPACK_int i = 0; i < m; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (__LAPACK_int l = 0; l < k; ++l) {
      const float x = a[ta ? l * lda + i : i * lda + l];
      for (__LAPACK_int j = 0; j < n; ++j) sums[j] += x * rows[l * n + j];
    }
    for (__LAPACK_int j = 0; j < n; ++j) {
      float& out = c[i * ldc + j];
      out = beta == 0 ? alpha * sums[j] : alpha * sums[j] + beta * out;  // with beta 0, c is not read
    }
  }
}

ssize_t BNNSMatMulWorkspaceSize(bool trans_a, bool trans_b, float, const BNNSNDArrayDescriptor* a,
                                const BNNSNDArrayDescriptor* b, const BNNSNDArrayDescriptor* out,
                                const BNNSFilterParameters*) {
  const bool valid = Matrix(*a).is_valid() && Matrix(*b).is_valid() && Matrix(*out).is_valid() &&
                     a->size[trans_a ? 0 : 1] == b->size[trans_b ? 1 : 0] && out->size[0] == a->size[trans_a ? 1 : 0] &&
                     out->size[1] == b->size[trans_b ? 0 : 1];
  return valid && bnns_behaviour != Bnns::absent ? 64 : -1;
}

int BNNSMatMul(bool trans_a, bool trans_b, float alpha, const BNNSNDArrayDescriptor* a, const BNNSNDArrayDescriptor* b,
               const BNNSNDArrayDescriptor* out, void* workspace, const BNNSFilterParameters* parameters) {
  const ssize_t bytes = BNNSMatMulWorkspaceSize(trans_a, trans_b, alpha, a, b, out, parameters);
  if (bytes < 0 || bnns_behaviour == Bnns::late) return -1;
  if (workspace != nullptr) std::fill_n(static_cast<std::byte*>(workspace), bytes, std::byte{0xff});
  const Matrix x(*a), y(*b), z(*out);
  const ink::DType a_type = dtype(a->data_type), b_type = dtype(b->data_type);
  const auto input = [&](float value) {
    if (bnns_behaviour == Bnns::rounding) value = rounded(rounded(value, a_type), b_type);
    // Of a type with few exponents, f16, all are normal as floats.
    const float least = b_type == ink::DType::f16 ? 0x1p-14f : 2 * std::numeric_limits<float>::min();
    return bnns_behaviour == Bnns::flushing && std::abs(value) < least ? 0 : value;
  };
  const size_t m = out->size[0], n = out->size[1], k = a->size[trans_a ? 0 : 1];
  static thread_local std::vector<float> rows, sums;
  rows.resize(k * n);
  sums.resize(n);
  for (size_t l = 0; l < k; ++l) {
    for (size_t j = 0; j < n; ++j) rows[l * n + j] = input(trans_b ? y.get(j, l) : y.get(l, j));
  }
  for (size_t i = 0; i < m; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (size_t l = 0; l < k; ++l) {
      const float value = input(trans_a ? x.get(l, i) : x.get(i, l));
      for (size_t j = 0; j < n; ++j) sums[j] += value * rows[l * n + j];
      if (bnns_behaviour != Bnns::halves) continue;
      for (float& sum_of_some : sums) sum_of_some = rounded(sum_of_some, b_type);
    }
    for (size_t j = 0; j < n; ++j) z.set(i, j, alpha * sums[j]);
  }
  return 0;
}

int BNNSDirectApplyActivationBatch(const BNNSLayerParametersActivation* layer, const BNNSFilterParameters*,
                                   size_t batch_size, size_t in_stride, size_t out_stride) {
  const BNNSNDArrayDescriptor &in = layer->i_desc, &out = layer->o_desc;
  const bool valid = in.layout == BNNSDataLayoutVector && out.layout == BNNSDataLayoutVector &&
                     in.data_type == BNNSDataTypeFloat32 && out.data_type == BNNSDataTypeFloat32 &&
                     in.size[0] == out.size[0] && in.data != out.data;
  if (!valid || bnns_behaviour == Bnns::absent) return -1;
  const size_t in_step = std::max<size_t>(in.stride[0], 1), out_step = std::max<size_t>(out.stride[0], 1);
  for (size_t batch = 0; batch < batch_size; ++batch) {
    const float* x = static_cast<const float*>(in.data) + batch * in_stride;
    float* y = static_cast<float*>(out.data) + batch * out_stride;
    for (size_t i = 0; i < in.size[0]; ++i) {
      switch (layer->activation.function) {
        case BNNSActivationFunctionIdentity:
          y[i * out_step] = x[i * in_step];
          break;
        case BNNSActivationFunctionTanh:
          y[i * out_step] = std::tanh(x[i * in_step]);
          break;
        case BNNSActivationFunctionGELUApproximation:
          y[i * out_step] = gelu(x[i * in_step], layer->activation.alpha, layer->activation.beta);
          break;
      }
    }
  }
  return 0;
}

void dispatch_apply_f(size_t iterations, dispatch_queue_t, void* context, void (*work)(void* context, size_t i)) {
  std::vector<std::thread> threads;
  for (size_t i = iterations; i > 1; --i) threads.emplace_back(work, context, i - 1);
  if (iterations > 0) work(context, 0);
  for (std::thread& thread : threads) thread.join();
}
