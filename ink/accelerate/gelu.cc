// GELU by exponentials: 0.5·(1 + tanh(u)) = 1 / (1 + e^-2u), u = √(2/π)·(x + 0.044715·x³), which keeps its digits where
// tanh nears -1.
#include <Accelerate/Accelerate.h>

#include <algorithm>

#include "ink/accelerate/kernels.h"

namespace ink::accelerate {

namespace {

constexpr float kLinear = 0.7978845608028654f, kCubic = 0.044715f;  // √(2/π)

// t[i] = e^-2u(x[i])
void exponentials(float* t, const float* x, int n) {
  constexpr float kSlope = -2 * kLinear * kCubic, kOffset = -2 * kLinear;
  const auto length = static_cast<vDSP_Length>(n);
  vDSP_vsq(x, 1, t, 1, length);
  vDSP_vsmsa(t, 1, &kSlope, &kOffset, t, 1, length);
  vDSP_vmul(t, 1, x, 1, t, 1, length);
  vvexpf(t, t, &n);
}

// out may be in.
void gelu_piece(float* out, const float* in, int n) {
  constexpr float kOne = 1;
  const auto length = static_cast<vDSP_Length>(n);
  float t[kPiece];
  exponentials(t, in, n);
  vDSP_vsadd(t, 1, &kOne, t, 1, length);
  vDSP_vdiv(t, 1, in, 1, out, 1, length);  // in / t
}

// With e = e^-2u and s = 1 / (1 + e): gelu' = s + x · 2u' · e · s². Beyond ±9.75 it is 0 or 1 to the last digit, and e
// would overflow.
void slope_piece(float* dout, const float* in, int n) {
  constexpr float kOne = 1, kZero = 0, kLow = -9.75f, kHigh = 9.75f;
  constexpr float kSlope = 6 * kLinear * kCubic, kOffset = 2 * kLinear;  // of 2u'
  const auto length = static_cast<vDSP_Length>(n);
  float x[kPiece], e[kPiece], s[kPiece];
  vDSP_vclip(in, 1, &kLow, &kHigh, x, 1, length);
  exponentials(e, x, n);
  vDSP_vsadd(e, 1, &kOne, s, 1, length);
  vDSP_svdiv(&kOne, s, 1, s, 1, length);
  vDSP_vmul(e, 1, s, 1, e, 1, length);  // first this product: e may be huge, s tiny
  vDSP_vmul(e, 1, s, 1, e, 1, length);
  vDSP_vmul(e, 1, x, 1, e, 1, length);
  vDSP_vsq(x, 1, x, 1, length);
  vDSP_vsmsa(x, 1, &kSlope, &kOffset, x, 1, length);
  vDSP_vma(x, 1, e, 1, s, 1, s, 1, length);
  vDSP_vsma(in, 1, &kZero, s, 1, s, 1, length);  // a NaN that clipping may have lost
  vDSP_vmul(dout, 1, s, 1, dout, 1, length);
}

}  // namespace

void gelu_range(const Bnns& bnns, float* out, const float* in, int64_t n) {
  for_pieces(0, n, [&](int64_t i, int64_t size) {
    const float* x = in + i;
    float copy[kPiece];
    if (bnns.has_gelu()) {
      if (in == out) x = std::copy(x, x + size, copy) - size;  // BNNS says nothing of activations in place
      if (Bnns::gelu(out + i, x, size)) return;
    }
    gelu_piece(out + i, x, static_cast<int>(size));
  });
}

void scale_by_gelu_slope(float* dout, const float* in, int64_t n) {
  for_pieces(0, n, [&](int64_t i, int64_t size) { slope_piece(dout + i, in + i, static_cast<int>(size)); });
}

void gelu(ThreadPool& pool, const Bnns& bnns, const Gelu& a) {
  pool.run_range(a.in.numel(), kGrain, [&](int64_t begin, int64_t end) {
    gelu_range(bnns, a.out.f32() + begin, a.in.f32() + begin, end - begin);
  });
}

}  // namespace ink::accelerate
