// Products of quantized blocks by AVX512-VNNI's dot product, which Highway's version does not have: four multiply-adds
// a lane and instruction, of unsigned by signed bytes, summed in 32 bits.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ink/cpu/gemm_quantized.h"
#include "ink/cpu/stored.h"

#if defined(__GNUC__) && !defined(__clang__)  // false alarms on its own intrinsics (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define INK_VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))

namespace ink::cpu {

namespace {

constexpr int kRows = 6, kVectors = 2, kLanes = 16, kCols = kVectors * kLanes;
constexpr int kQuads = kQuantized / 4;  // of bytes along k, which a dot product adds up

// A block of a panel: numbers 128 too large, q[i][n] are those of k = 4·i .. 4·i + 3 in column n.
struct alignas(64) PanelBlock {
  uint32_t q[kQuads][kCols];
  float d[kCols];
};

template <int R>
INK_VNNI_TARGET void multiply(int64_t blocks, const std::byte* a, int64_t lda, const std::byte* panel, float* c,
                              int64_t ldc, bool add) {
  __m512 sum[R][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = add ? _mm512_loadu_ps(c + r * ldc + v * kLanes) : _mm512_setzero_ps();
    }
  }
  const auto* b = reinterpret_cast<const PanelBlock*>(panel);
  for (int64_t i = 0; i < blocks; ++i, ++b, a += sizeof(SignedBlock)) {
    const auto row = [&](int r) { return reinterpret_cast<const SignedBlock*>(a + r * lda); };
    __m512i dot[R][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) dot[r][0] = dot[r][1] = _mm512_set1_epi32(row(r)->minus_offset);
#pragma GCC unroll 8
    for (int k = 0; k < kQuads; ++k) {
      const __m512i b0 = _mm512_load_si512(b->q[k]), b1 = _mm512_load_si512(b->q[k] + kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        int32_t quad;
        std::memcpy(&quad, row(r)->q + 4 * k, sizeof quad);
        const __m512i factor = _mm512_set1_epi32(quad);
        dot[r][0] = _mm512_dpbusd_epi32(dot[r][0], b0, factor);
        dot[r][1] = _mm512_dpbusd_epi32(dot[r][1], b1, factor);
      }
    }
    const __m512 d0 = _mm512_load_ps(b->d), d1 = _mm512_load_ps(b->d + kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 d = _mm512_set1_ps(row(r)->d);
      sum[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][0]), _mm512_mul_ps(d, d0), sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][1]), _mm512_mul_ps(d, d1), sum[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(c + r * ldc + v * kLanes, sum[r][v]);
  }
}

// 16 bytes of each of the rows r, r + 4, r + 8, r + 12.
template <int Offset>
INK_VNNI_TARGET __m512i load_rows(const std::byte* const* rows, int r, int64_t at) {
  const auto load = [&](int i) INK_VNNI_TARGET {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r + 4 * i] + at + Offset));
  };
  __m512i v = _mm512_castsi128_si512(load(0));
  v = _mm512_inserti32x4(v, load(1), 1);
  v = _mm512_inserti32x4(v, load(2), 2);
  return _mm512_inserti32x4(v, load(3), 3);
}

// Stores the quads of 16 rows, four of each, as four rows of quads.
INK_VNNI_TARGET void store_quads(const __m512i (&v)[4], uint32_t (*out)[kCols]) {
  const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), low23 = _mm512_unpacklo_epi32(v[2], v[3]);
  const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
  _mm512_store_si512(out[0], _mm512_unpacklo_epi64(low01, low23));
  _mm512_store_si512(out[1], _mm512_unpackhi_epi64(low01, low23));
  _mm512_store_si512(out[2], _mm512_unpacklo_epi64(high01, high23));
  _mm512_store_si512(out[3], _mm512_unpackhi_epi64(high01, high23));
}

INK_VNNI_TARGET void store_scales(const std::byte* const* rows, int64_t at, float* out) {
  const auto d = [&](int r) {
    int16_t bits;
    std::memcpy(&bits, rows[r] + at, sizeof bits);
    return bits;
  };
  _mm512_store_ps(out, _mm512_cvtph_ps(_mm256_setr_epi16(d(0), d(1), d(2), d(3), d(4), d(5), d(6), d(7), d(8), d(9),
                                                         d(10), d(11), d(12), d(13), d(14), d(15))));
}

// 16 rows of one block, at bytes from where they begin.
INK_VNNI_TARGET void pack_q8(const std::byte* const* rows, int64_t at, PanelBlock& out, int64_t n) {
  const __m512i sign = _mm512_set1_epi8(-128);
  __m512i low[4], high[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    low[r] = _mm512_xor_si512(load_rows<offsetof(Q8Block, q)>(rows, r, at), sign);
    high[r] = _mm512_xor_si512(load_rows<offsetof(Q8Block, q) + 16>(rows, r, at), sign);
  }
  auto* quads = reinterpret_cast<uint32_t(*)[kCols]>(out.q[0] + n);
  store_quads(low, quads);
  store_quads(high, quads + 4);
  store_scales(rows, at, out.d + n);
}

INK_VNNI_TARGET void pack_q4(const std::byte* const* rows, int64_t at, PanelBlock& out, int64_t n) {
  const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(128 - 8);
  __m512i low[4], high[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const __m512i pairs = load_rows<offsetof(Q4Block, q)>(rows, r, at);
    low[r] = _mm512_add_epi8(_mm512_and_si512(pairs, mask), offset);
    high[r] = _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16(pairs, 4), mask), offset);
  }
  auto* quads = reinterpret_cast<uint32_t(*)[kCols]>(out.q[0] + n);
  store_quads(low, quads);
  store_quads(high, quads + 4);
  store_scales(rows, at, out.d + n);
}

INK_VNNI_TARGET void pack_b(DType type, const std::byte* b, int64_t row_bytes, int64_t rows, int64_t blocks,
                            const std::byte* next, std::byte* panel) {
  std::array<const std::byte*, kCols> row;
  for (int64_t r = 0; r < kCols; ++r) row[r] = b + std::min(r, rows - 1) * row_bytes;
  const auto pack = type == DType::q8_0 ? pack_q8 : pack_q4;
  auto* out = reinterpret_cast<PanelBlock*>(panel);
  const auto bytes = static_cast<int64_t>(block_bytes(type));
  for (int64_t i = 0; i < blocks; ++i, ++out) {
    if (next != nullptr) {
      for (int64_t r = 0; r < kCols; ++r) __builtin_prefetch(next + r * row_bytes + i * bytes);
    }
    pack(row.data(), i * bytes, *out, 0);
    pack(row.data() + kLanes, i * bytes, *out, kLanes);
  }
}

template <int... I>
constexpr std::array<QuantizedKernels::Multiply, sizeof...(I)> all_heights(std::integer_sequence<int, I...>) {
  return {multiply<I + 1>...};
}

constexpr std::array<QuantizedKernels::Multiply, kRows> kMultiply =
    all_heights(std::make_integer_sequence<int, kRows>());

}  // namespace

const QuantizedKernels* vnni_kernels() {
  static constexpr QuantizedKernels kKernels = {.rows = kRows,
                                                .cols = kCols,
                                                .a_block = sizeof(SignedBlock),
                                                .b_block = sizeof(PanelBlock),
                                                .multiply = kMultiply.data(),
                                                .pack_a = nullptr,
                                                .pack_b = pack_b};
  return __builtin_cpu_supports("avx512vnni") ? &kKernels : nullptr;
}

}  // namespace ink::cpu
