#include <Accelerate/Accelerate.h>

#include <algorithm>
#include <cmath>

#include "ink/accelerate/kernels.h"

namespace ink::accelerate {

namespace {

void layernorm_row(const AddLayerNorm& a, int64_t n) {
  const int64_t C = a.out.cols();
  const auto length = static_cast<vDSP_Length>(C);
  const float* x = a.residual.f32() + n * C;
  if (a.sum) {
    float* sum = a.sum.f32() + n * C;
    if (a.in) {
      vDSP_vadd(a.in.f32() + n * C, 1, x, 1, sum, 1, length);
    } else if (sum != x) {
      std::copy(x, x + C, sum);
    }
    x = sum;
  }
  float* out = a.out.f32() + n * C;
  float mean = 0, var = 0;
  vDSP_meanv(x, 1, &mean, length);
  const float minus_mean = -mean;
  vDSP_vsadd(x, 1, &minus_mean, out, 1, length);
  vDSP_measqv(out, 1, &var, length);
  const float rstd = 1 / std::sqrt(var + a.eps);
  vDSP_vsmul(out, 1, &rstd, out, 1, length);
  vDSP_vma(out, 1, a.weight.f32(), 1, a.bias.f32(), 1, out, 1, length);
  a.mean.f32()[n] = mean;
  a.rstd.f32()[n] = rstd;
}

// Adds the row's part of dweight and dbias to partial (2,C). scratch (2,C).
void layernorm_backward_row(const AddLayerNormBackward& a, float* partial, float* scratch, int64_t n) {
  const int64_t C = a.dsum.cols();
  const auto length = static_cast<vDSP_Length>(C);
  const float* dout = a.dout.f32() + n * C;
  const float* weight = a.weight.f32();
  float* dweight = partial;
  float* dbias = partial + C;
  float* x_hat = scratch;
  float* g = scratch + C;
  const float minus_mean = -a.mean.f32()[n], rstd = a.rstd.f32()[n];
  vDSP_vsadd(a.sum.f32() + n * C, 1, &minus_mean, x_hat, 1, length);
  vDSP_vsmul(x_hat, 1, &rstd, x_hat, 1, length);
  vDSP_vmul(dout, 1, weight, 1, g, 1, length);
  float mean_g = 0, dot_gx = 0;
  vDSP_meanv(g, 1, &mean_g, length);
  vDSP_dotpr(g, 1, x_hat, 1, &dot_gx, length);
  vDSP_vma(dout, 1, x_hat, 1, dweight, 1, dweight, 1, length);
  vDSP_vadd(dout, 1, dbias, 1, dbias, 1, length);
  // dout was read for the last time: out may be written over it.
  if (a.out) vDSP_vma(x_hat, 1, weight, 1, a.bias.f32(), 1, a.out.f32() + n * C, 1, length);
  const float minus_mean_g = -mean_g, minus_mean_gx = -dot_gx / static_cast<float>(C);
  vDSP_vsadd(g, 1, &minus_mean_g, g, 1, length);
  vDSP_vsma(x_hat, 1, &minus_mean_gx, g, 1, g, 1, length);
  float* dsum = a.dsum.f32() + n * C;
  if (a.dresidual) {
    vDSP_vsma(g, 1, &rstd, a.dresidual.f32() + n * C, 1, dsum, 1, length);
  } else {
    vDSP_vsmul(g, 1, &rstd, dsum, 1, length);
  }
}

}  // namespace

void add_layernorm(ThreadPool& pool, const AddLayerNorm& a) {
  pool.run_range(a.out.rows(), std::max<int64_t>(1, kGrain / a.out.cols()), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) layernorm_row(a, n);
  });
}

void add_layernorm_backward(ThreadPool& pool, cpu::Scratch& scratch, cpu::ScratchSlots& slots,
                            const AddLayerNormBackward& a) {
  constexpr int64_t kRows = 16, kMostBlocks = 64;  // at most so many partial sums, however many rows there are
  const int64_t N = a.dsum.rows(), C = a.dsum.cols();
  const int64_t rows = std::max(kRows, (N + kMostBlocks - 1) / kMostBlocks);
  const int64_t blocks = (N + rows - 1) / rows;
  float* partials = scratch.get<float>(blocks * 2 * C);
  slots.reserve(2 * C);
  pool.run_range(N, rows, [&](int64_t begin, int64_t end) {
    const cpu::ScratchSlots::Lease lease(slots);
    float* partial = partials + begin / rows * 2 * C;
    std::fill(partial, partial + 2 * C, 0.0f);
    for (int64_t n = begin; n < end; ++n) layernorm_backward_row(a, partial, lease.floats(), n);
  });
  // The first partial takes the others in, then the gradients take it.
  pool.run_range(2 * C, 256, [&](int64_t begin, int64_t end) {
    const auto length = static_cast<vDSP_Length>(end - begin);
    for (int64_t block = 1; block < blocks; ++block) {
      vDSP_vadd(partials + block * 2 * C + begin, 1, partials + begin, 1, partials + begin, 1, length);
    }
  });
  for (float* out : {a.dweight.f32(), a.dbias.f32()}) {
    vDSP_vadd(partials, 1, out, 1, out, 1, static_cast<vDSP_Length>(C));
    partials += C;
  }
}

}  // namespace ink::accelerate
