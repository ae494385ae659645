// Products of quantized blocks by AVX512-VNNI's dot product, which Highway's version does not have: four multiply-adds
// a lane and instruction, of unsigned by signed bytes, summed in 32 bits.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

#include "ink/cpu/gemm_blocks.h"
#include "ink/cpu/gemm_quantized.h"
#include "ink/cpu/stored.h"

#if defined(__GNUC__) && !defined(__clang__)  // false alarms on its own intrinsics (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define INK_VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))

// Vectors handed to a function that is not inlined go through memory.
#define INK_VNNI_INLINE INK_VNNI_TARGET __attribute__((always_inline)) inline

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
INK_VNNI_INLINE __m512i load_rows(const std::byte* const* rows, int r, int64_t at) {
  const auto load = [&](int i) INK_VNNI_TARGET {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r + 4 * i] + at + Offset));
  };
  __m512i v = _mm512_castsi128_si512(load(0));
  v = _mm512_inserti32x4(v, load(1), 1);
  v = _mm512_inserti32x4(v, load(2), 2);
  return _mm512_inserti32x4(v, load(3), 3);
}

// Stores the quads of 16 rows, four of each, as four rows of quads.
INK_VNNI_INLINE void store_quads(const __m512i (&v)[4], uint32_t (*out)[kCols]) {
  const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), low23 = _mm512_unpacklo_epi32(v[2], v[3]);
  const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
  _mm512_store_si512(out[0], _mm512_unpacklo_epi64(low01, low23));
  _mm512_store_si512(out[1], _mm512_unpackhi_epi64(low01, low23));
  _mm512_store_si512(out[2], _mm512_unpacklo_epi64(high01, high23));
  _mm512_store_si512(out[3], _mm512_unpackhi_epi64(high01, high23));
}

INK_VNNI_INLINE __m512 load_scales(const std::byte* const* rows, int64_t at) {
  const auto d = [&](int r) {
    int16_t bits;
    std::memcpy(&bits, rows[r] + at, sizeof bits);
    return bits;
  };
  return _mm512_cvtph_ps(_mm256_setr_epi16(d(0), d(1), d(2), d(3), d(4), d(5), d(6), d(7), d(8), d(9), d(10), d(11),
                                           d(12), d(13), d(14), d(15)));
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
  _mm512_store_ps(out.d + n, load_scales(rows, at));
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
  _mm512_store_ps(out.d + n, load_scales(rows, at));
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

// Numbers of 16 rows of one block. Dot products with a block of a leave the sum of a row in several lanes; sum_lanes
// adds them up: one row a lane.
struct Q8Rows {
  __m512i q[8];  // 128 too large; of q[i], i < 4, the rows i and i + 4, of the others those and 8 more

  INK_VNNI_INLINE void load(const std::byte* const* rows, int64_t at) {
    const __m512i sign = _mm512_set1_epi8(-128);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const std::byte* const low = rows[i % 4 + i / 4 * 8] + at + offsetof(Q8Block, q);
      const std::byte* const high = rows[i % 4 + i / 4 * 8 + 4] + at + offsetof(Q8Block, q);
      const __m512i pair =
          _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low))),
                             _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)), 1);
      q[i] = _mm512_xor_si512(pair, sign);
    }
  }
  INK_VNNI_INLINE __m512i dot(const int8_t* a) const {
    const __m512i block = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)));
    __m512i sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q[i], block);
    const __m512i first = add_four(sum), second = add_four(sum + 4);
    return _mm512_add_epi32(_mm512_shuffle_i64x2(first, second, 0x88), _mm512_shuffle_i64x2(first, second, 0xdd));
  }
  // Of each 128 bits the sums of the four vectors' lanes there.
  INK_VNNI_INLINE static __m512i add_four(const __m512i* v) {
    const __m512i v01 = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i v23 = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(v01, v23), _mm512_unpackhi_epi64(v01, v23));
  }
};
struct Q4Rows {
  __m512i low[4], high[4];  // 128 too large; of the rows i, i + 4, i + 8, i + 12

  INK_VNNI_INLINE void load(const std::byte* const* rows, int64_t at) {
    const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(128 - 8);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i pairs = load_rows<offsetof(Q4Block, q)>(rows, i, at);
      low[i] = _mm512_add_epi8(_mm512_and_si512(pairs, mask), offset);
      high[i] = _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16(pairs, 4), mask), offset);
    }
  }
  INK_VNNI_INLINE __m512i dot(const int8_t* a) const {
    const __m512i first = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
    const __m512i second = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + 16)));
    __m512i sum[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      sum[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), low[i], first), high[i], second);
    }
    return Q8Rows::add_four(sum);
  }
};

// 16 columns at a time, R rows of a. Sums stay in registers from the first block to the last.
template <class Rows, class Block, int R>
INK_VNNI_TARGET void multiply_few_rows(const QuantizedKernels::Few& p) {
  const int64_t row_bytes = p.blocks * static_cast<int64_t>(sizeof(Block));
  const int64_t lda = p.blocks * static_cast<int64_t>(sizeof(SignedBlock));
  constexpr int64_t kAhead = 768;                 // bytes
  constexpr int64_t kEvery = 64 / sizeof(Block);  // at least once a cache line: one that is left out costs more
  for (int64_t n = 0; n < p.cols; n += kLanes) {
    const int64_t cols = std::min<int64_t>(kLanes, p.cols - n);
    const std::byte* row[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) row[r] = p.b + (n + std::min(r, cols - 1)) * row_bytes;
    __m512 sum[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = _mm512_setzero_ps();
    for (int64_t i = 0; i < p.blocks; ++i) {
      const int64_t at = i * static_cast<int64_t>(sizeof(Block));
      if (i % kEvery == 0) {  // beyond the end of a row the place is in the next ones
        const auto next = reinterpret_cast<uintptr_t>(row[0]) + at + kAhead;
        const int64_t skip = at + kAhead < row_bytes ? 0 : (kLanes - 1) * row_bytes;
#pragma GCC unroll 16
        for (int64_t r = 0; r < kLanes; ++r) fetch_line(next + skip + r * row_bytes);
      }
      Rows rows;
      rows.load(row, at);
      const __m512 d = load_scales(row, at);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const auto* block = reinterpret_cast<const SignedBlock*>(p.a + r * lda) + i;
        const __m512i dot = _mm512_add_epi32(rows.dot(block->q), _mm512_set1_epi32(block->minus_offset));
        sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(_mm512_set1_ps(block->d), d), sum[r]);
      }
    }
    const auto mask = static_cast<__mmask16>((1u << cols) - 1);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) _mm512_mask_storeu_ps(p.c + r * p.ldc + n, mask, sum[r]);
  }
}

constexpr int64_t kFewRows = 4;

template <class Rows, class Block>
void multiply_few_blocks(const QuantizedKernels::Few& p) {
  switch (p.rows) {
    case 1:
      return multiply_few_rows<Rows, Block, 1>(p);
    case 2:
      return multiply_few_rows<Rows, Block, 2>(p);
    case 3:
      return multiply_few_rows<Rows, Block, 3>(p);
    default:
      assert(p.rows == kFewRows);
      return multiply_few_rows<Rows, Block, kFewRows>(p);
  }
}

void multiply_few(const QuantizedKernels::Few& p) {
  if (p.type == DType::q8_0) {
    multiply_few_blocks<Q8Rows, Q8Block>(p);
  } else {
    multiply_few_blocks<Q4Rows, Q4Block>(p);
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
                                                .pack_b = pack_b,
                                                .few_rows = kFewRows,
                                                .multiply_few = multiply_few};
  return __builtin_cpu_supports("avx512vnni") ? &kKernels : nullptr;
}

}  // namespace ink::cpu
