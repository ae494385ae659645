#include <Accelerate/Accelerate.h>

#include <cmath>

#include "ink/accelerate/kernels.h"

namespace ink::accelerate {

void adamw(ThreadPool& pool, const AdamW& a) {
  const auto steps = static_cast<double>(a.step);
  const auto m_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta1}, steps)));
  const auto v_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta2}, steps)));
  const float beta1 = a.beta1, beta2 = a.beta2, rest1 = 1 - a.beta1, rest2 = 1 - a.beta2, minus_lr = -a.lr;
  const auto piece = [&](int64_t begin, int64_t size) {
    const auto length = static_cast<vDSP_Length>(size);
    const auto n = static_cast<int>(size);
    float* param = a.param.f32() + begin;
    float* m = a.m.f32() + begin;
    float* v = a.v.f32() + begin;
    float g[kPiece], step[kPiece];
    vDSP_vsmul(a.grad.f32() + begin, 1, &a.grad_scale, g, 1, length);
    vDSP_vsmsma(m, 1, &beta1, g, 1, &rest1, m, 1, length);
    vDSP_vsq(g, 1, g, 1, length);
    vDSP_vsmsma(v, 1, &beta2, g, 1, &rest2, v, 1, length);
    float* root = g;
    vDSP_vsmul(v, 1, &v_scale, root, 1, length);
    vvsqrtf(root, root, &n);
    vDSP_vsadd(root, 1, &a.eps, root, 1, length);
    vDSP_vsmul(m, 1, &m_scale, step, 1, length);
    vDSP_vdiv(root, 1, step, 1, step, 1, length);  // step / root
    vDSP_vsma(param, 1, &a.weight_decay, step, 1, step, 1, length);
    vDSP_vsma(step, 1, &minus_lr, param, 1, param, 1, length);
  };
  pool.run_range(a.param.numel(), kGrain, [&](int64_t begin, int64_t end) { for_pieces(begin, end, piece); });
}

void sgd(ThreadPool& pool, const Sgd& a) {
  const float minus_lr = -a.lr;
  const auto piece = [&](int64_t begin, int64_t size) {
    const auto length = static_cast<vDSP_Length>(size);
    float* param = a.param.f32() + begin;
    float* m = a.m.f32() + begin;
    float d[kPiece];
    vDSP_vsmul(a.grad.f32() + begin, 1, &a.grad_scale, d, 1, length);
    vDSP_vsma(param, 1, &a.weight_decay, d, 1, d, 1, length);
    vDSP_vsma(m, 1, &a.momentum, d, 1, m, 1, length);
    vDSP_vsma(m, 1, &minus_lr, param, 1, param, 1, length);
  };
  pool.run_range(a.param.numel(), kGrain, [&](int64_t begin, int64_t end) { for_pieces(begin, end, piece); });
}

}  // namespace ink::accelerate
