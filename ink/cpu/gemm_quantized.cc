// Matrix products with weights of q8_0 or q4_0: rows of a are rounded to blocks once; panels of b, some blocks deep,
// are packed into the nearest cache as they are read from memory, and multiplied with every row.
#include "ink/cpu/gemm_quantized.h"

#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gemm_quantized.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ink/cpu/gemm_blocks.h"
#include "ink/cpu/gemm_finish.h"
#include "ink/cpu/gemm_kernel-inl.h"
#include "ink/ops/check_args.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

// Rounds 32 elements to q and returns their scale, as Gemm's comment says. NaN and infinity come out in the scale.
HWY_INLINE float round_block(const float* x, int8_t* q) {
  const Full d;
  const hn::RebindToSigned<Full> di;
  const hn::Rebind<int8_t, Full> bytes;
  // As integers magnitudes have the same order, with NaN above all.
  auto largest = hn::Zero(di);
  for (int64_t i = 0; i < kQuantized; i += kLanes) {
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
  }
  const float scale = hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(di, largest))) / 127, inverse = 1 / scale;
  if (!(scale > 0) || !(inverse > 0 && inverse <= std::numeric_limits<float>::max())) {
    std::fill_n(q, kQuantized, int8_t{0});
    return scale;
  }
  for (int64_t i = 0; i < kQuantized; i += kLanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));
    hn::StoreU(hn::DemoteTo(bytes, rounded), bytes, q + i);
  }
  return scale;
}

void pack_a_signed(const float* a, int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<SignedBlock*>(out);
  for (int64_t i = 0; i < blocks; ++i, ++block, a += kQuantized) {
    block->d = round_block(a, block->q);
    int32_t sum = 0;
    for (const int8_t q : block->q) sum += q;
    block->minus_offset = -128 * sum;
  }
}

// Without 8-bit dot products: all integers as floats, which hold every sum of a block exactly.
struct FloatBlock {
  float d;
  float q[kQuantized];
};
struct FloatPanelBlock {
  float q[kQuantized][kTileCols];
  float d[kTileCols];
};

void pack_a_floats(const float* a, int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<FloatBlock*>(out);
  int8_t q[kQuantized];
  for (int64_t i = 0; i < blocks; ++i, ++block, a += kQuantized) {
    block->d = round_block(a, q);
    std::copy_n(q, kQuantized, block->q);
  }
}

// Fused whatever the instruction set: all give the same bits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fused_multiply_add(D d, V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_SSE4
  HWY_ALIGN float x[kLanes], y[kLanes], z[kLanes];
  hn::Store(a, d, x);
  hn::Store(b, d, y);
  hn::Store(c, d, z);
  for (int64_t i = 0; i < kLanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(d, z);
#else
  (void)d;
  return hn::MulAdd(a, b, c);
#endif
}

template <int R>
void multiply_blocks(int64_t blocks, const std::byte* a, int64_t lda, const std::byte* panel, float* c, int64_t ldc,
                     bool add) {
  const Full d;
  using V = hn::Vec<Full>;
  const auto* b = reinterpret_cast<const FloatPanelBlock*>(panel);
  for (int64_t i = 0; i < blocks; ++i, ++b, a += sizeof(FloatBlock)) {
    const auto row = [&](int r) { return reinterpret_cast<const FloatBlock*>(a + r * lda); };
    V dot[R][kTileVectors];
    HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
      HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) dot[r][v] = hn::Zero(d);
    }
    for (int64_t k = 0; k < kQuantized; ++k) {
      V quants[kTileVectors];
      HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) quants[v] = hn::LoadU(d, b->q[k] + v * kLanes);
      HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
        const V factor = hn::Set(d, row(r)->q[k]);
        HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) dot[r][v] = hn::MulAdd(factor, quants[v], dot[r][v]);
      }
    }
    HWY_UNROLL(16) for (int r = 0; r < R; ++r) {
      HWY_UNROLL(4) for (int v = 0; v < kTileVectors; ++v) {
        float* to = c + r * ldc + v * kLanes;
        const V sum = add || i > 0 ? hn::LoadU(d, to) : hn::Zero(d);
        const V scale = hn::Mul(hn::Set(d, row(r)->d), hn::LoadU(d, b->d + v * kLanes));
        hn::StoreU(fused_multiply_add(d, dot[r][v], scale, sum), d, to);
      }
    }
  }
}

void pack_b_floats(DType type, const std::byte* b, int64_t row_bytes, int64_t rows, int64_t blocks,
                   const std::byte* next, std::byte* panel) {
  const Full d;
  auto* out = reinterpret_cast<FloatPanelBlock*>(panel);
  const auto bytes = static_cast<int64_t>(block_bytes(type));
  F16 scales[kTileCols] = {};
  int8_t q[kTileCols][kQuantized];
  for (int64_t i = 0; i < blocks; ++i, ++out, b += bytes) {
    if (rows < kTileCols) *out = {};
    for (int64_t r = 0; r < rows; ++r) {
      if (next != nullptr) __builtin_prefetch(next + r * row_bytes + i * bytes);
      std::memcpy(&scales[r], b + r * row_bytes, sizeof scales[r]);
      if (type == DType::q8_0) continue;
      const auto* pairs = reinterpret_cast<const uint8_t*>(b + r * row_bytes + offsetof(Q4Block, q));
      for (int64_t k = 0; k < kQuantized / 2; ++k) q[r][k] = static_cast<int8_t>((pairs[k] & 15) - 8);
      for (int64_t k = 0; k < kQuantized / 2; ++k) q[r][k + kQuantized / 2] = static_cast<int8_t>((pairs[k] >> 4) - 8);
    }
    const auto* in_place = reinterpret_cast<const int8_t*>(b + offsetof(Q8Block, q));
    transpose(type == DType::q8_0 ? in_place : q[0], rows, kQuantized, type == DType::q8_0 ? row_bytes : kQuantized,
              out->q[0], kTileCols);
    for (int64_t n = 0; n < kTileCols; n += kLanes) hn::StoreU(load_floats(d, scales + n), d, out->d + n);
  }
}

template <int... I>
constexpr std::array<QuantizedKernels::Multiply, sizeof...(I)> multiply_all(std::integer_sequence<int, I...>) {
  return {multiply_blocks<I + 1>...};
}

constexpr std::array<QuantizedKernels::Multiply, kTileRows> kMultiplyBlocks =
    multiply_all(std::make_integer_sequence<int, kTileRows>());

// The best for this instruction set.
QuantizedKernels quantized_kernels() {
  if (const QuantizedKernels* vnni = vnni_kernels(); kLanes == 16 && vnni != nullptr) {
    QuantizedKernels kernels = *vnni;
    kernels.pack_a = pack_a_signed;
    return kernels;
  }
  return {.rows = kTileRows,
          .cols = kTileCols,
          .a_block = sizeof(FloatBlock),
          .b_block = sizeof(FloatPanelBlock),
          .multiply = kMultiplyBlocks.data(),
          .pack_a = pack_a_floats,
          .pack_b = pack_b_floats};
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(quantized_kernels);

namespace {

constexpr int64_t kStageRows = 1024;  // of a, rounded at a time

// A product of the rows [m_start, m_start + m), which have been rounded.
struct Product {
  const Gemm& g;
  const QuantizedKernels& kernels;
  const std::byte* a;
  int64_t m_start, m;
  int64_t blocks, depth;  // along k: in all, and of a panel

  bool few() const { return m <= kMostFewRows; }
};

// Panel by panel of columns [n_begin, n_end). With few rows b is read as it lies; with many, all panels of one depth
// come before the next, as the part of a that goes with them stays in a cache.
class PanelWalk {
 public:
  PanelWalk(const Product& p, int64_t n_begin, int64_t n_end)
      : p_(p), n_begin_(n_begin), n_end_(n_end), depths_(divide_up(p.blocks, p.depth)) {}

  void run(std::byte* panel) {
    const auto& [g, kernels, a, m_start, m, blocks, depth] = p_;
    if (m <= kernels.few_rows) {
      kernels.multiply_few({.type = g.b.dtype,
                            .b = address({n_begin_, 0}),
                            .cols = n_end_ - n_begin_,
                            .blocks = blocks,
                            .a = a,
                            .rows = m,
                            .c = product(n_begin_),
                            .ldc = g.out.cols()});
      finish_tile(g, {.m = m_start, .n = n_begin_, .rows = m, .cols = n_end_ - n_begin_});
      return;
    }
    const int64_t row_bytes = blocks * static_cast<int64_t>(block_bytes(g.b.dtype));
    const int64_t ahead = p_.few() ? kAhead : 1;
    for (int64_t i = 0; i < panels() * depths_; ++i) {
      const Place here = place(i), next = place(i + ahead);
      // The last panel may be narrower than what would be fetched.
      const bool fetch = next.n + kernels.cols <= n_end_ && next.n >= 0;
      kernels.pack_b(g.b.dtype, address(here), row_bytes, cols_at(here.n), size_at(here.block),
                     fetch ? address(next) : nullptr, panel);
      multiply_panel(here, panel);
      if (here.block + depth < blocks) continue;
      finish_tile(g, {.m = m_start, .n = here.n, .rows = m, .cols = cols_at(here.n)});
    }
  }

 private:
  static constexpr int64_t kAhead = 4;  // panels that are fetched before they are packed

  struct Place {
    int64_t n, block;
  };

  int64_t panels() const { return divide_up(n_end_ - n_begin_, p_.kernels.cols); }
  int64_t cols_at(int64_t n) const { return std::min(p_.kernels.cols, n_end_ - n); }
  int64_t size_at(int64_t block) const { return std::min(p_.depth, p_.blocks - block); }
  const std::byte* address(const Place& at) const {
    return p_.g.b.data + bytes_of(p_.g.b.dtype, (at.n * p_.blocks + at.block) * kQuantized);
  }

  // Where the product's columns from n on begin.
  float* product(int64_t n) const {
    return (p_.g.gelu_in ? p_.g.gelu_in : p_.g.out).f32() + p_.m_start * p_.g.out.cols() + n;
  }

  // The i-th panel.
  Place place(int64_t i) const {
    const int64_t n = p_.few() ? i / depths_ : i % panels(), k = p_.few() ? i % depths_ : i / panels();
    return {k < depths_ ? n_begin_ + n * p_.kernels.cols : n_end_, k * p_.depth};
  }

  void multiply_panel(const Place& at, const std::byte* panel) const {
    const auto& [g, kernels, a, m_start, m, blocks, depth] = p_;
    const int64_t N = g.out.cols(), lda = blocks * kernels.a_block, cols = cols_at(at.n), size = size_at(at.block);
    const bool add = at.block > 0;
    constexpr int64_t kMostRows = 16, kMostCols = 64;
    assert(kernels.rows <= kMostRows && kernels.cols <= kMostCols);
    float edge[kMostRows * kMostCols];
    for (int64_t row = 0; row < m; row += kernels.rows) {
      const int64_t rows = std::min(kernels.rows, m - row);
      const std::byte* const a_rows = a + row * lda + at.block * kernels.a_block;
      float* const c = product(at.n) + row * N;
      const QuantizedKernels::Multiply multiply = kernels.multiply[rows - 1];
      if (cols == kernels.cols) {
        multiply(size, a_rows, lda, panel, c, N, add);
        continue;
      }
      for (int64_t r = 0; add && r < rows; ++r) std::copy_n(c + r * N, cols, edge + r * kernels.cols);
      multiply(size, a_rows, lda, panel, edge, kernels.cols, add);
      for (int64_t r = 0; r < rows; ++r) std::copy_n(edge + r * kernels.cols, cols, c + r * N);
    }
  }

  const Product& p_;
  int64_t n_begin_, n_end_, depths_;
};

}  // namespace

void gemm_quantized(ThreadPool& pool, GemmEngine& engine, const Gemm& g) {
  constexpr int64_t kDepth = 16, kFewDepth = 4, kTasks = 4, kFewTasks = 2, kStripPanels = 8;
  const int64_t M = g.out.rows(), N = g.out.cols(), K = g.a.cols();
  const QuantizedKernels kernels = HWY_DYNAMIC_DISPATCH(quantized_kernels)();
  const int64_t blocks = K / kQuantized, lda = blocks * kernels.a_block;
  auto* const rounded = engine.a.get<std::byte>(std::min(M, kStageRows) * lda);
  for (int64_t m = 0; m < M; m += kStageRows) {
    const int64_t rows = std::min(kStageRows, M - m);
    pool.run_range(rows, std::max<int64_t>(1, kGrain / K), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) kernels.pack_a(g.a.f32() + (m + r) * K, blocks, rounded + r * lda);
    });
    const bool few = rows <= kMostFewRows;
    const Product product = {.g = g,
                             .kernels = kernels,
                             .a = rounded,
                             .m_start = m,
                             .m = rows,
                             .blocks = blocks,
                             .depth = even_step(blocks, few ? kFewDepth : kDepth, 1)};
    engine.b.reserve(divide_up(product.depth * kernels.b_block, sizeof(float)));
    const int64_t tasks = (few ? kFewTasks : kTasks) * pool.threads();
    int64_t step = even_step(N, divide_up(N, tasks), kernels.cols);
    if (!few) step = std::min(step, kStripPanels * kernels.cols);
    pool.run_range(N, step, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease lease(engine.b);
      PanelWalk(product, begin, end).run(reinterpret_cast<std::byte*>(lease.floats()));
    });
  }
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
