// What the vector kernels share. Included once for every instruction set (Highway's foreach_target), hence the unusual
// guard. In the kernels d is a vector type: a full one, or a single lane for what is left at the end of a row.
#if defined(INK_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INK_CPU_SIMD_INL_H_
#undef INK_CPU_SIMD_INL_H_
#else
#define INK_CPU_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "ink/cpu/stored.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::CappedTag<float, 16>;
using Single = hn::CappedTag<float, 1>;

// f(d, i) over [0, n), a vector at a time and then one by one.
template <class F>
HWY_INLINE void for_vectors(int64_t n, const F& f) {
  const Full d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(d, i);
  for (; i < n; ++i) f(Single(), i);
}

// Σ f(d, i) over [0, n). Four running sums hide the latency of an addition.
template <class F>
HWY_INLINE float sum_vectors(int64_t n, const F& f) {
  const Full d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = hn::Add(sum0, f(d, i));
    sum1 = hn::Add(sum1, f(d, i + lanes));
    sum2 = hn::Add(sum2, f(d, i + 2 * lanes));
    sum3 = hn::Add(sum3, f(d, i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) sum0 = hn::Add(sum0, f(d, i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < n; ++i) sum += hn::GetLane(f(Single(), i));
  return sum;
}

// The lanes of a full vector, and the blocks of four that its interleaving stays within.
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Full()));
constexpr bool kFewRegisters = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4;  // 16 instead of 32

// A vector of floats from what is stored, widened exactly.
template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const BF16* from) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> half;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(half, &from->bits))));
}
template <class D>
HWY_INLINE hn::Vec<D> widen_f16(D d, hn::Vec<hn::Rebind<uint16_t, D>> half) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_SSE4
  // By hand: Highway's way without instructions takes infinity for a number. The exponent moves to its place in a float
  // and is then corrected by a product, which normalises subnormal numbers too.
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::PromoteTo(du, half);
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fff)));
  const auto number = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f));
  const auto special = hn::Or(hn::BitCast(d, magnitude), hn::BitCast(d, hn::Set(du, 0x7f800000)));
  const auto is_number = hn::Lt(hn::BitCast(d, magnitude), hn::BitCast(d, hn::Set(du, 0x7c00u << 13)));
  const auto sign = hn::BitCast(d, hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000))));
  return hn::Or(hn::IfThenElse(is_number, number, special), sign);
#else
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), half));
#endif
}
template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const F16* from) {
  return widen_f16(d, hn::LoadU(hn::Rebind<uint16_t, D>(), &from->bits));
}
template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const int8_t* from) {
  const hn::RebindToSigned<D> di;
  const hn::Rebind<int8_t, D> bytes;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(bytes, from)));
}

#if HWY_TARGET != HWY_SCALAR
// v[j], j < 4, become: in block q the four rows' elements 4·q + j, the rows being four vectors.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transpose_blocks_of_four(D d, V (&v)[4]) {
  const hn::RepartitionToWide<hn::RebindToUnsigned<D>> wide;
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, v[0], v[1]));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, v[2], v[3]));
  const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(d, v[0], v[1]));
  const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(wide, low01, low23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(wide, high01, high23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23));
}

// out = inᵀ, a square of as many rows as d has lanes (4, 8 or 16), rows any distance apart.
template <class D, class T>
HWY_INLINE void transpose_lanes(D d, const T* in, int64_t in_row, float* out, int64_t out_row) {
  constexpr int kGroups = static_cast<int>(hn::MaxLanes(d)) / 4;
  hn::Vec<D> v[kGroups][4];
  HWY_UNROLL(4) for (int g = 0; g < kGroups; ++g) {
    HWY_UNROLL(4) for (int r = 0; r < 4; ++r) v[g][r] = load_floats(d, in + (4 * g + r) * in_row);
    transpose_blocks_of_four(d, v[g]);
  }
  // Now the blocks: block q of group g belongs in block g of row 4·q + j.
  HWY_UNROLL(4) for (int j = 0; j < 4; ++j) {
    float* const to = out + j * out_row;
    if constexpr (kGroups == 1) {
      hn::StoreU(v[0][j], d, to);
    } else if constexpr (kGroups == 2) {
      hn::StoreU(hn::ConcatLowerLower(d, v[1][j], v[0][j]), d, to);
      hn::StoreU(hn::ConcatUpperUpper(d, v[1][j], v[0][j]), d, to + 4 * out_row);
    } else {
      const auto even01 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(v[1][j]), v[0][j]);
      const auto odd01 = hn::OddEvenBlocks(v[1][j], hn::SwapAdjacentBlocks(v[0][j]));
      const auto even23 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(v[3][j]), v[2][j]);
      const auto odd23 = hn::OddEvenBlocks(v[3][j], hn::SwapAdjacentBlocks(v[2][j]));
      hn::StoreU(hn::ConcatLowerLower(d, even23, even01), d, to);
      hn::StoreU(hn::ConcatLowerLower(d, odd23, odd01), d, to + 4 * out_row);
      hn::StoreU(hn::ConcatUpperUpper(d, even23, even01), d, to + 8 * out_row);
      hn::StoreU(hn::ConcatUpperUpper(d, odd23, odd01), d, to + 12 * out_row);
    }
  }
}
#endif

// The elements of a row that load_square takes: of halves, pairs fill the lanes on the way.
template <class T>
constexpr int64_t kSquareDepth = sizeof(T) == sizeof(float) || kLanes == 1 ? kLanes : HWY_MAX(kLanes, 8);

#if HWY_TARGET == HWY_SCALAR
template <class T>
HWY_INLINE void load_square(const T* in, int64_t, hn::Vec<Full> (&v)[1]) {
  v[0] = load_floats(Full(), in);
}
#else
// v[j] = the 32 bits at in + 4·j bytes of as many rows as there are lanes, the rows in_row bytes apart. Blocks of lanes
// are put together as they are loaded, which leaves less to be moved across blocks.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
constexpr int64_t kColumnsAtOnce = 8;
HWY_INLINE void load_columns(const std::byte* in, int64_t in_row, hn::Vec<Full> (&v)[8]) {
  const Full d;
  const hn::Half<Full> half;
  hn::Vec<Full> four[2][4];
  HWY_UNROLL(2) for (int64_t i = 0; i < 2; ++i) {
    HWY_UNROLL(4) for (int64_t j = 0; j < 4; ++j) {  // rows 8·i + j and 4 more
      const std::byte* const row = in + (8 * i + j) * in_row;
      four[i][j] = hn::Combine(d, hn::LoadU(half, reinterpret_cast<const float*>(row + 4 * in_row)),
                               hn::LoadU(half, reinterpret_cast<const float*>(row)));
    }
    transpose_blocks_of_four(d, four[i]);
  }
  HWY_UNROLL(4) for (int j = 0; j < 4; ++j) {  // even blocks are of column j, odd ones of column j + 4
    v[j] = hn::Vec<Full>{_mm512_shuffle_f32x4(four[0][j].raw, four[1][j].raw, 0x88)};
    v[j + 4] = hn::Vec<Full>{_mm512_shuffle_f32x4(four[0][j].raw, four[1][j].raw, 0xdd)};
  }
}
#else
constexpr int64_t kColumnsAtOnce = 4;
HWY_INLINE void load_columns(const std::byte* in, int64_t in_row, hn::Vec<Full> (&v)[4]) {
  const Full d;
  HWY_UNROLL(4) for (int64_t j = 0; j < 4; ++j) {
    const auto block = [&](int64_t q) HWY_ATTR {
      return hn::LoadDup128(d, reinterpret_cast<const float*>(in + (4 * q + j) * in_row));
    };
    if constexpr (kLanes == 4) {
      v[j] = block(0);
    } else {
      v[j] = hn::ConcatUpperLower(d, block(1), block(0));
    }
  }
  transpose_blocks_of_four(d, v);
}
#endif

// The lower and the upper half of each lane, widened.
HWY_INLINE void split_pairs(const BF16*, hn::Vec<Full> pairs, hn::Vec<Full>& low, hn::Vec<Full>& high) {
  const Full d;
  const hn::RebindToUnsigned<Full> du;
  const auto bits = hn::BitCast(du, pairs);
  low = hn::BitCast(d, hn::ShiftLeft<16>(bits));
  high = hn::BitCast(d, hn::And(bits, hn::Set(du, 0xffff0000u)));
}
HWY_INLINE void split_pairs(const F16*, hn::Vec<Full> pairs, hn::Vec<Full>& low, hn::Vec<Full>& high) {
  const Full d;
  const hn::RebindToUnsigned<Full> du;
  const hn::Rebind<uint16_t, Full> half;
  const auto bits = hn::BitCast(du, pairs);
  low = widen_f16(d, hn::TruncateTo(half, bits));
  high = widen_f16(d, hn::TruncateTo(half, hn::ShiftRight<16>(bits)));
}

// v[k] = element k of as many rows as there are lanes, widened.
template <class T>
HWY_INLINE void load_square(const T* in, int64_t in_row, hn::Vec<Full> (&v)[kSquareDepth<T>]) {
  constexpr int64_t kHalves = sizeof(T) == sizeof(float) ? 1 : 2;  // elements of a lane
  const auto* bytes = reinterpret_cast<const std::byte*>(in);
  HWY_UNROLL(4) for (int64_t k = 0; k < kSquareDepth<T>; k += kColumnsAtOnce * kHalves) {
    hn::Vec<Full> columns[kColumnsAtOnce];
    load_columns(bytes + k * sizeof(T), in_row * sizeof(T), columns);
    HWY_UNROLL(8) for (int64_t j = 0; j < kColumnsAtOnce; ++j) {
      if constexpr (kHalves == 1) {
        v[k + j] = columns[j];
      } else {
        split_pairs(in, columns[j], v[k + 2 * j], v[k + 2 * j + 1]);
      }
    }
  }
}
#endif

// out(cols,rows) = in(rows,cols)ᵀ, widened, rows any distance apart.
template <class T>
HWY_INLINE void transpose(const T* in, int64_t rows, int64_t cols, int64_t in_row, float* out, int64_t out_row) {
  int64_t done = 0;
#if HWY_TARGET != HWY_SCALAR
  const auto squares = [&](auto d) HWY_ATTR {
    const auto size = static_cast<int64_t>(hn::MaxLanes(d));
    const int64_t end = done + (rows - done) / size * size, whole = cols / size * size;
    for (int64_t r = done; r < end; r += size) {
      for (int64_t c = 0; c < whole; c += size) {
        transpose_lanes(d, in + r * in_row + c, in_row, out + c * out_row + r, out_row);
      }
      for (int64_t c = whole; c < cols; ++c) {
        for (int64_t i = r; i < r + size; ++i) out[c * out_row + i] = widen(in[i * in_row + c]);
      }
    }
    done = end;
  };
  squares(Full());
  squares(hn::CappedTag<float, 4>());
#endif
  for (int64_t r = done; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) out[c * out_row + r] = widen(in[r * in_row + c]);
  }
}

// e^x to 1.5 units in the last place, for x ≤ 88; 0 below -87.3 (-inf included), NaN for NaN.
// x = q·ln 2 + r, |r| ≤ ln 2 / 2: e^x = 2^q · e^r, with Cephes' polynomial for e^r (S. Moshier, expf.c).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_vector(D d, V x) {
  const V lowest = hn::Set(d, -87.3f);
  const V q = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(q, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(q, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const hn::RebindToSigned<D> di;
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, q), hn::Set(di, 127)));
  return hn::IfThenZeroElse(hn::Lt(x, lowest), hn::Mul(p, hn::BitCast(d, power)));
}

// With u = √(2/π)·(x + 0.044715·x³), 1 + tanh(u) = 2 / (1 + e^-2u): no cancellation where tanh nears -1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_exp(D d, V x) {
  constexpr float kScale = -2 * 0.7978845608f;
  const V minus_2u = hn::Mul(x, hn::MulAdd(hn::Mul(x, x), hn::Set(d, kScale * 0.044715f), hn::Set(d, kScale)));
  return exp_vector(d, hn::Min(minus_2u, hn::Set(d, 88.0f)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_vector(D d, V x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), gelu_exp(d, x)));
}

// gelu'(x) = s + x·s·(1-s)·2u', s = 1 / (1 + e), 1 - s = e·s. x is held where the slope is 0 or 1 anyway, so that x²
// stays finite; NaN and infinity come back in with x - x.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_slope_vector(D d, V x) {
  constexpr float kScale = 2 * 0.7978845608f;
  const V one = hn::Set(d, 1.0f);
  const V held = hn::Max(hn::Min(x, hn::Set(d, 20.0f)), hn::Set(d, -20.0f));
  const V e = gelu_exp(d, held);
  const V s = hn::Div(one, hn::Add(one, e));
  const V slope_2u = hn::MulAdd(hn::Mul(held, held), hn::Set(d, kScale * 3 * 0.044715f), hn::Set(d, kScale));
  const V slope = hn::MulAdd(hn::Mul(held, s), hn::Mul(hn::Mul(e, s), slope_2u), s);
  return hn::Add(slope, hn::Sub(x, x));
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
