#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gelu.cc"
#include <hwy/foreach_target.h>

#include "ink/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

void gelu_range(float* out, const float* in, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(gelu_vector(d, hn::LoadU(d, in + i)), d, out + i); });
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(gelu_range);

void gelu(ThreadPool& pool, const Gelu& a) {
  float* out = a.out.f32();
  const float* in = a.in.f32();
  pool.run_range(a.in.numel(), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gelu_range)(out + begin, in + begin, end - begin);
  });
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
