#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/optimizer.cc"
#include <hwy/foreach_target.h>

#include <cmath>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// m_scale and v_scale are 1 / (1 - β^step).
void adamw_range(const AdamW& a, float m_scale, float v_scale, int64_t begin, int64_t end) {
  float* param = a.param.f32() + begin;
  const float* grad = a.grad.f32() + begin;
  float* m = a.m.f32() + begin;
  float* v = a.v.f32() + begin;
  for_vectors(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    const auto p = hn::LoadU(d, param + i);
    const auto g = hn::Mul(hn::LoadU(d, grad + i), hn::Set(d, a.grad_scale));
    const auto new_m = hn::MulAdd(hn::Set(d, a.beta1), hn::LoadU(d, m + i), hn::Mul(hn::Set(d, 1 - a.beta1), g));
    const auto new_v =
        hn::MulAdd(hn::Set(d, a.beta2), hn::LoadU(d, v + i), hn::Mul(hn::Set(d, 1 - a.beta2), hn::Mul(g, g)));
    const auto root = hn::Add(hn::Sqrt(hn::Mul(new_v, hn::Set(d, v_scale))), hn::Set(d, a.eps));
    const auto step = hn::Div(hn::Mul(new_m, hn::Set(d, m_scale)), root);
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    hn::StoreU(hn::NegMulAdd(hn::Set(d, a.lr), hn::MulAdd(hn::Set(d, a.weight_decay), p, step), p), d, param + i);
  });
}

void sgd_range(const Sgd& a, int64_t begin, int64_t end) {
  float* param = a.param.f32() + begin;
  const float* grad = a.grad.f32() + begin;
  float* m = a.m.f32() + begin;
  for_vectors(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    const auto p = hn::LoadU(d, param + i);
    const auto g = hn::Mul(hn::LoadU(d, grad + i), hn::Set(d, a.grad_scale));
    const auto decayed = hn::MulAdd(hn::Set(d, a.weight_decay), p, g);
    const auto new_m = hn::MulAdd(hn::Set(d, a.momentum), hn::LoadU(d, m + i), decayed);
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(hn::NegMulAdd(hn::Set(d, a.lr), new_m, p), d, param + i);
  });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(adamw_range);
HWY_EXPORT(sgd_range);

void adamw(ThreadPool& pool, const AdamW& a) {
  const auto step = static_cast<double>(a.step);
  const auto m_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta1}, step)));
  const auto v_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta2}, step)));
  pool.run_range(a.param.numel(), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_range)(a, m_scale, v_scale, begin, end);
  });
}

void sgd(ThreadPool& pool, const Sgd& a) {
  pool.run_range(a.param.numel(), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(sgd_range)(a, begin, end);
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
