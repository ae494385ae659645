// Matrix products, each one call of Accelerate, which spreads it over the processor's matrix units by itself: in float
// by its BLAS, of halves by BNNS where that is exact. Bias, GELU and the sums that go with a product follow on our
// threads.
#define ACCELERATE_NEW_LAPACK
#define ACCELERATE_LAPACK_ILP64
#include <Accelerate/Accelerate.h>

#include <algorithm>
#include <array>
#include <span>

#include "ink/accelerate/kernels.h"
#include "ink/cpu/gemm_finish.h"
#include "ink/cpu/kernels.h"
#include "ink/ops/check_args.h"
#include "ink/tensor/cast.h"

namespace ink::accelerate {

namespace {

bool is_half(const Tensor& t) { return t.dtype == DType::f16 || t.dtype == DType::bf16; }

// The elements of t in scratch, rounded to bf16 on the way if asked for.
const std::byte* converted(ThreadPool& pool, cpu::Scratch& scratch, const Tensor& t, DType type, bool round) {
  auto* to = scratch.get<std::byte>(bytes_of(type, t.numel()));
  pool.run_range(t.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for_pieces(begin, end, [&](int64_t i, int64_t size) {
      std::array<float, kPiece> memory;
      std::array<std::byte, 2 * kPiece> halves;
      const std::span<float> floats(memory.data(), static_cast<size_t>(size));
      to_f32(t.dtype, t.data + bytes_of(t.dtype, i), floats);
      if (round && type == DType::f32) {
        from_f32(floats, DType::bf16, halves.data());
        to_f32(DType::bf16, halves.data(), floats);
      }
      from_f32(floats, type, to + bytes_of(type, i));
    });
  });
  return to;
}

void sgemm(const Gemm& g, const std::byte* a, const std::byte* b, float* out) {
  const GemmDims dims = dims_of(g);
  cblas_sgemm(CblasRowMajor, g.trans_a ? CblasTrans : CblasNoTrans, g.trans_b ? CblasTrans : CblasNoTrans, dims.m,
              dims.n, dims.k, 1, reinterpret_cast<const float*>(a), g.a.cols(), reinterpret_cast<const float*>(b),
              g.b.cols(), g.accumulate ? 1.0f : 0.0f, out, dims.n);
}

HalfProduct half_product(const Gemm& g, float* out) {
  const GemmDims dims = dims_of(g);
  return {.a_type = g.a.dtype,
          .b_type = g.b.dtype,
          .a = g.a.data,
          .b = g.b.data,
          .out = out,
          .m = dims.m,
          .n = dims.n,
          .k = dims.k,
          .trans_a = g.trans_a,
          .trans_b = g.trans_b};
}

// BNNS overwrites: what is to be added to comes by way of scratch.
bool multiply_bf16_by_bnns(ThreadPool& pool, Products& p, const Gemm& g, float* out) {
  if (!p.bnns.multiplies(DType::bf16, DType::bf16)) return false;
  const int64_t numel = g.out.numel();
  HalfProduct product = half_product(g, g.accumulate ? p.out.get<float>(numel) : out);
  product.a_type = product.b_type = DType::bf16;
  product.a = converted(pool, p.a, g.a, DType::bf16, true);
  if (g.b.dtype != DType::bf16) product.b = converted(pool, p.b, g.b, DType::bf16, true);
  if (!Bnns::multiply(product, p.workspace)) return false;
  if (!g.accumulate) return true;
  pool.run_range(numel, kGrain, [&](int64_t begin, int64_t end) {
    vDSP_vadd(product.out + begin, 1, out + begin, 1, out + begin, 1, static_cast<vDSP_Length>(end - begin));
  });
  return true;
}

void multiply(ThreadPool& pool, Products& p, const Gemm& g, float* out) {
  if (p.rounding == DType::bf16) {
    if (multiply_bf16_by_bnns(pool, p, g, out)) return;
    return sgemm(g, converted(pool, p.a, g.a, DType::f32, true), converted(pool, p.b, g.b, DType::f32, true), out);
  }
  if (!is_half(g.b)) return sgemm(g, g.a.data, g.b.data, out);
  if (p.bnns.multiplies(DType::f32, g.b.dtype) && Bnns::multiply(half_product(g, out), p.workspace)) return;
  sgemm(g, g.a.data, converted(pool, p.b, g.b, DType::f32, false), out);
}

void finish(ThreadPool& pool, const Bnns& bnns, const Gemm& g, float* product) {
  const GemmDims dims = dims_of(g);
  if (g.bias || g.gelu_in || g.dgelu_in) {
    pool.run_range(dims.m, std::max<int64_t>(1, kGrain / dims.n), [&](int64_t begin, int64_t end) {
      if (g.bias) {
        for (float* row = product + begin * dims.n; row < product + end * dims.n; row += dims.n) {
          vDSP_vadd(row, 1, g.bias.f32(), 1, row, 1, static_cast<vDSP_Length>(dims.n));
        }
      }
      const int64_t start = begin * dims.n, count = (end - begin) * dims.n;
      if (g.gelu_in) gelu_range(bnns, g.out.f32() + start, product + start, count);
      if (g.dgelu_in) scale_by_gelu_slope(product + start, g.dgelu_in.f32() + start, count);
    });
  }
  if (g.dbias) {
    pool.run_range(dims.m, 64, [&](int64_t begin, int64_t end) {
      cpu::add_column_sums(g.dbias.f32() + begin, g.a.f32() + begin, dims.k, dims.m, end - begin);
    });
  }
}

}  // namespace

void gemm(ThreadPool& pool, Products& products, const Gemm& g) {
  // A few rows by weights of halves wait for memory: widening them beforehand would double what they wait for.
  if (products.rounding == DType::f32 && is_half(g.b) && cpu::has_few_rows(g)) return products.cpu->gemm(g);
  float* product = g.gelu_in ? g.gelu_in.f32() : g.out.f32();
  multiply(pool, products, g, product);
  finish(pool, products.bnns, g, product);
}

}  // namespace ink::accelerate
