#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/layernorm.cc"
#include <hwy/foreach_target.h>

#include <cmath>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

void layernorm_rows(const AddLayerNorm& a, int64_t begin, int64_t end) {
  const int64_t C = a.out.cols();
  const float* weight = a.weight.f32();
  const float* bias = a.bias.f32();
  for (int64_t n = begin; n < end; ++n) {
    const float* residual = a.residual.f32() + n * C;
    const float* x = residual;
    if (a.sum) {
      float* sum = a.sum.f32() + n * C;
      if (a.in) {
        const float* in = a.in.f32() + n * C;
        for_vectors(C, [&](auto d, int64_t i) HWY_ATTR {
          hn::StoreU(hn::Add(hn::LoadU(d, in + i), hn::LoadU(d, residual + i)), d, sum + i);
        });
      } else if (sum != residual) {
        for_vectors(C, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::LoadU(d, residual + i), d, sum + i); });
      }
      x = sum;
    }
    const float mean = sum_vectors(C, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, x + i); }) / C;
    const float var = sum_vectors(C,
                                  [&](auto d, int64_t i) HWY_ATTR {
                                    const auto centred = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean));
                                    return hn::Mul(centred, centred);
                                  }) /
                      C;
    const float rstd = 1 / std::sqrt(var + a.eps);
    float* out = a.out.f32() + n * C;
    for_vectors(C, [&](auto d, int64_t i) HWY_ATTR {
      const auto x_hat = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, rstd));
      hn::StoreU(hn::MulAdd(x_hat, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
    });
    a.mean.f32()[n] = mean;
    a.rstd.f32()[n] = rstd;
  }
}

// Also adds the rows' parts of dweight and dbias to partial (2,C), which it clears first.
void layernorm_backward_rows(const AddLayerNormBackward& a, float* partial, int64_t begin, int64_t end) {
  const int64_t C = a.dsum.cols();
  const float* weight = a.weight.f32();
  const float* bias = a.bias.f32();
  float* dweight = partial;
  float* dbias = partial + C;
  std::fill(partial, partial + 2 * C, 0.0f);
  for (int64_t n = begin; n < end; ++n) {
    const float* dout = a.dout.f32() + n * C;
    const float* sum = a.sum.f32() + n * C;
    const float* dresidual = a.dresidual ? a.dresidual.f32() + n * C : nullptr;
    float* dsum = a.dsum.f32() + n * C;
    float* out = a.out ? a.out.f32() + n * C : nullptr;
    const float mean = a.mean.f32()[n], rstd = a.rstd.f32()[n];
    const auto x_hat = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::Sub(hn::LoadU(d, sum + i), hn::Set(d, mean)), hn::Set(d, rstd));
    };
    const auto g = [&](auto d, int64_t i)
                       HWY_ATTR { return hn::Mul(hn::LoadU(d, dout + i), hn::LoadU(d, weight + i)); };
    const float mean_g = sum_vectors(C, g) / C;
    const float mean_gx = sum_vectors(C, [&](auto d, int64_t i) HWY_ATTR { return hn::Mul(g(d, i), x_hat(d, i)); }) / C;
    for_vectors(C, [&](auto d, int64_t i) HWY_ATTR {
      const auto x = x_hat(d, i);
      const auto dy = hn::LoadU(d, dout + i);
      const auto centred = hn::NegMulAdd(x, hn::Set(d, mean_gx), hn::Sub(g(d, i), hn::Set(d, mean_g)));
      const auto along = dresidual != nullptr ? hn::LoadU(d, dresidual + i) : hn::Zero(d);
      hn::StoreU(hn::MulAdd(hn::Set(d, rstd), centred, along), d, dsum + i);
      hn::StoreU(hn::MulAdd(dy, x, hn::LoadU(d, dweight + i)), d, dweight + i);
      hn::StoreU(hn::Add(dy, hn::LoadU(d, dbias + i)), d, dbias + i);
      if (out != nullptr) hn::StoreU(hn::MulAdd(x, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
    });
  }
}

// out[c] += Σ_r parts[r·stride + c], for c in [0, n).
void add_rows(float* out, const float* parts, int64_t rows, int64_t stride, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (int64_t r = 0; r < rows; ++r) sum = hn::Add(sum, hn::LoadU(d, parts + r * stride + i));
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), sum), d, out + i);
  });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(layernorm_rows);
HWY_EXPORT(layernorm_backward_rows);
HWY_EXPORT(add_rows);

void add_layernorm(ThreadPool& pool, const AddLayerNorm& a) {
  pool.run_range(a.out.rows(), std::max<int64_t>(1, kGrain / a.out.cols()), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(layernorm_rows)(a, begin, end);
  });
}

void add_layernorm_backward(ThreadPool& pool, Scratch& scratch, const AddLayerNormBackward& a) {
  constexpr int64_t kRows = 16, kMostBlocks = 64;  // at most so many partial sums, however many rows there are
  const int64_t N = a.dsum.rows(), C = a.dsum.cols();
  const int64_t rows = std::max(kRows, (N + kMostBlocks - 1) / kMostBlocks);
  const int64_t blocks = (N + rows - 1) / rows;
  float* partials = scratch.get<float>(blocks * 2 * C);
  pool.run_range(N, rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(layernorm_backward_rows)(a, partials + begin / rows * 2 * C, begin, end);
  });
  pool.run_range(C, 256, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_rows)(a.dweight.f32() + begin, partials + begin, blocks, 2 * C, end - begin);
    HWY_DYNAMIC_DISPATCH(add_rows)(a.dbias.f32() + begin, partials + C + begin, blocks, 2 * C, end - begin);
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
