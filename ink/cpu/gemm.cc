// Matrix products, out = op(a)·op(b), after Goto and van de Geijn (2008). a is packed into panels once, for all
// threads; each thread then walks over its columns of b: it packs a panel of them, which stays in its nearest caches
// (64 KiB with AVX-512, 32 with AVX2), and multiplies it with every panel of a, which streams by. While one panel of b
// is in use the next is fetched: where a is a small batch and b the weights of a layer, memory is as much of a limit as
// arithmetic.
#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/gemm.cc"
#include <hwy/foreach_target.h>

#include "ink/cpu/gemm_blocks.h"
#include "ink/cpu/gemm_finish.h"
#include "ink/cpu/gemm_kernel-inl.h"
#include "ink/ops/check_args.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

TileSize tile_size() { return {.rows = kTileRows, .cols = kTileCols}; }

// What Packed says, done to a panel that was packed as floats. in may be out unless it is to become pairs.
void convert_panel(Packed packed, float* out, float* in, int64_t k, int64_t width) {
  if (packed == Packed::rounded_to_bf16) round_to_bf16(in, k * width);
  if (packed == Packed::bf16_pairs) pair_rows(out, in, k, width);
}

// Packs the panels [begin, end) of rows of op(a), all k blocks of the stage, and adds their share to dbias. scratch: a
// panel of floats.
void pack_a(const Gemm& g, const Stage& s, float* packed, float* scratch, int64_t begin, int64_t end) {
  const int64_t lda = g.a.cols();
  for (int64_t k = 0; k < s.k; k += s.k_block) {
    const int64_t k_size = std::min(s.k_block, s.k - k);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = s.row(p), rows = s.row(p + 1) - row;
      float* out = packed + s.packed_rows(k) * s.m + row * s.packed_rows(k_size);
      float* floats = s.packed == Packed::bf16_pairs ? scratch : out;
      const PanelKernel& kernel = kPanelKernels[rows - 1];
      if (g.trans_a) {
        kernel.pack_columns(floats, g.a.f32() + (s.k_start + k) * lda + s.m_start + row, lda, k_size);
      } else {
        kernel.pack_rows(floats, g.a.f32() + (s.m_start + row) * lda + s.k_start + k, lda, k_size);
      }
      convert_panel(s.packed, out, floats, k_size, rows);
    }
  }
  if (!g.dbias) return;
  const int64_t m = s.m_start + s.row(begin), count = s.row(end) - s.row(begin);
  add_column_sums(g.dbias.f32() + m, g.a.f32() + s.k_start * lda + m, s.k, lda, count);
}

// Rows of memory that a panel of b is packed from: elements of b's type, the stride in bytes.
struct Source {
  const std::byte* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;
};

Source panel_source(const Gemm& g, int64_t k, int64_t k_size, int64_t n, int64_t cols) {
  const int64_t ldb = g.b.cols(), start = g.trans_b ? n * ldb + k : k * ldb + n;
  return {.data = g.b.data + bytes_of(g.b.dtype, start),
          .rows = g.trans_b ? cols : k_size,
          .cols = g.trans_b ? k_size : cols,
          .stride = static_cast<int64_t>(bytes_of(g.b.dtype, ldb))};
}

// One of so many parts of what will be packed next: some rows of a panel of columns, or some columns of one of rows.
HWY_INLINE Fetch fetch_part(const Gemm& g, const Source& s, int64_t part, int64_t parts) {
  if (s.data == nullptr) return {};
  if (!g.trans_b) {
    const int64_t begin = s.rows * part / parts, end = s.rows * (part + 1) / parts;
    return {s.data + begin * s.stride, s.stride, end - begin};
  }
  const int64_t pairs = divide_up(static_cast<int64_t>(bytes_of(g.b.dtype, s.cols)), Fetch::kBytes);
  return {s.data + pairs * part / parts * Fetch::kBytes, s.stride, s.rows};
}

// What stays the same from tile to tile of a strip.
struct StripPart {
  const Gemm& g;
  const Stage& s;
  const Strip& strip;
  int64_t k, k_size;  // the block of depths, from the stage's beginning
};

int64_t cols_at(const Strip& strip, int64_t n) { return std::min(kTileCols, strip.n_end - n); }

// Packs the columns that start at n. scratch: two panels, of which the first is returned.
const float* pack_b(const StripPart& part, int64_t n, float* scratch) {
  const Gemm& g = part.g;
  const Stage& s = part.s;
  const int64_t cols = cols_at(part.strip, n), k_size = part.k_size;
  const Source source = panel_source(g, s.k_start + part.k, k_size, n, cols);
  float* const floats = s.packed == Packed::bf16_pairs ? scratch + s.k_block * kTileCols : scratch;
  with_elements(g.b.dtype, source.data, [&]<class T>(const T* b) HWY_ATTR {
    (g.trans_b ? pack_b_rows<T> : pack_b_columns<T>)(floats, b, g.b.cols(), k_size, cols);
  });
  convert_panel(s.packed, scratch, floats, k_size, kTileCols);
  return scratch;
}

// What is packed after the columns that start at n: the strip's next ones, or the first of its next block of depths,
// or, when it is done, the first of the strip that this thread is likely to claim next.
Source next_source(const StripPart& part, int64_t n) {
  const auto& [g, s, strip, k, k_size] = part;
  if (n + kTileCols < strip.n_end) {
    return panel_source(g, s.k_start + k, k_size, n + kTileCols, cols_at(strip, n + kTileCols));
  }
  const int64_t next_k = k + s.k_block;
  if (next_k < s.k) {
    return panel_source(g, s.k_start + next_k, std::min(s.k_block, s.k - next_k), strip.n_begin,
                        cols_at(strip, strip.n_begin));
  }
  const int64_t left = g.out.cols() - strip.n_next;
  if (left <= 0) return {};
  return panel_source(g, s.k_start, std::min(s.k_block, s.k), strip.n_next, std::min(kTileCols, left));
}

// Panel p of rows by the columns that start at n.
void multiply_tile(const StripPart& part, const float* packed_a, int64_t p, const float* packed_b, int64_t n,
                   const Fetch& fetch) {
  const auto& [g, s, strip, k, k_size] = part;
  const int64_t N = g.out.cols(), row = s.row(p), rows = s.row(p + 1) - row, cols = cols_at(strip, n);
  const int64_t depth = s.packed_rows(k_size);
  const float* a = packed_a + s.packed_rows(k) * s.m + row * depth;
  float* c = (g.gelu_in ? g.gelu_in : g.out).f32() + (s.m_start + row) * N + n;
  const bool add = g.accumulate || s.k_start + k > 0;
  const MultiplyPanels multiply =
      s.packed == Packed::bf16_pairs ? bf16_multiply_panels()[rows - 1] : kPanelKernels[rows - 1].multiply;
  if (cols == kTileCols) return multiply(depth, a, packed_b, c, N, add, fetch);
  HWY_ALIGN float edge[kTileRows * kTileCols];
  multiply(depth, a, packed_b, edge, kTileCols, false, fetch);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) {
      const float sum = edge[r * kTileCols + i];
      c[r * N + i] = add ? c[r * N + i] + sum : sum;
    }
  }
}

// The columns [n_begin, n_end) of the panels [p_begin, p_end) of rows. scratch: two panels of b.
void multiply_strip(const Gemm& g, const Stage& s, const float* packed_a, float* scratch, const Strip& strip) {
  const int64_t m = s.row(strip.p_begin), rows = s.row(strip.p_end) - m, panels = strip.p_end - strip.p_begin;
  for (int64_t k = 0; k < s.k; k += s.k_block) {
    const StripPart part = {.g = g, .s = s, .strip = strip, .k = k, .k_size = std::min(s.k_block, s.k - k)};
    const bool last = s.k_start + k + part.k_size == dims_of(g).k;
    for (int64_t n = strip.n_begin; n < strip.n_end; n += kTileCols) {
      const float* packed_b = pack_b(part, n, scratch);
      const Source next = next_source(part, n);
      for (int64_t i = 0; i < panels; ++i) {
        multiply_tile(part, packed_a, strip.p_begin + i, packed_b, n, fetch_part(g, next, i, panels));
      }
      if (last) finish_tile(g, {.m = s.m_start + m, .n = n, .rows = rows, .cols = cols_at(strip, n)});
    }
  }
}

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink::cpu {

HWY_EXPORT(tile_size);
HWY_EXPORT(pack_a);
HWY_EXPORT(multiply_strip);

namespace {

Packed packed_as(DType products) {
  if (products == DType::f32) return Packed::f32;
  const TileSize tile = HWY_DYNAMIC_DISPATCH(tile_size)();
  const bool fits = tile.rows == kBf16Tile.rows && tile.cols == kBf16Tile.cols;
  return fits && bf16_multiply_panels() != nullptr ? Packed::bf16_pairs : Packed::rounded_to_bf16;
}

}  // namespace

bool has_bf16_instructions() { return packed_as(DType::bf16) == Packed::bf16_pairs; }

void gemm(ThreadPool& pool, GemmEngine& engine, const Gemm& g) {
  if (block_of(g.b.dtype) > 1) return gemm_quantized(pool, engine, g);
  if (engine.library != nullptr && g.b.dtype == DType::f32) return gemm_by_library(pool, *engine.library, g);
  if (engine.products == DType::f32 && has_few_rows(g)) return gemm_few_rows(pool, engine, g);
  const GemmDims dims = dims_of(g);
  const int64_t M = dims.m, N = dims.n, K = dims.k;
  const TileSize tile = HWY_DYNAMIC_DISPATCH(tile_size)();
  const Packed packed = packed_as(engine.products);
  // A panel that becomes pairs is packed as floats first.
  const int64_t panels = packed == Packed::bf16_pairs ? 2 : 1;
  const GemmBlocks blocks(M, N, K, tile, pool.threads());
  float* const packed_a = engine.a.get<float>(blocks.m_stage * blocks.k_stage);
  engine.b.reserve(panels * blocks.k_block * tile.cols);
  for (int64_t k = 0; k < K; k += blocks.k_stage) {
    for (int64_t m = 0; m < M; m += blocks.m_stage) {
      const Stage stage(m, std::min(blocks.m_stage, M - m), k, std::min(blocks.k_stage, K - k), blocks.k_block, tile,
                        packed);
      pool.run_range(stage.panels, GemmBlocks::kPackPanels, [&](int64_t begin, int64_t end) {
        const ScratchSlots::Lease lease(engine.b);
        HWY_DYNAMIC_DISPATCH(pack_a)(g, stage, packed_a, lease.floats(), begin, end);
      });
      const int64_t parts = std::min(blocks.m_parts, stage.panels);
      pool.run(blocks.strips * parts, [&](int64_t task) {
        const ScratchSlots::Lease lease(engine.b);
        const int64_t n = task / parts * blocks.strip, part = task % parts;
        const Strip strip = {.n_begin = n,
                             .n_end = std::min(n + blocks.strip, N),
                             .n_next = (task + pool.threads()) / parts * blocks.strip,
                             .p_begin = stage.panels * part / parts,
                             .p_end = stage.panels * (part + 1) / parts};
        HWY_DYNAMIC_DISPATCH(multiply_strip)(g, stage, packed_a, lease.floats(), strip);
      });
    }
  }
}

}  // namespace ink::cpu
#endif  // HWY_ONCE
