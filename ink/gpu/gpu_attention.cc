// Attention, its gradients, and attention to cached positions.
#include <cassert>
#include <cmath>
#include <cstdint>

#include "ink/base/check.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ops/check_args.h"

namespace ink::gpu {

namespace {

int as_int(int64_t n, const char* what) {
  check(n <= INT32_MAX, "attention: {} {} are too many for the GPU's kernels", n, what);
  return static_cast<int>(n);
}

float scale_of(int64_t size) { return static_cast<float>(1 / std::sqrt(static_cast<double>(size))); }

// aligned: whether the rows of all heads can be read by four.
AttentionArgs attention_args(const Tensor& out, int heads, int aligned) {
  const int64_t size = out.shape[2] / heads;
  return {.batch = as_int(out.shape[0], "sequences"),
          .time = as_int(out.shape[1], "positions"),
          .heads = heads,
          .size = as_int(size, "channels of a head"),
          .aligned = aligned,
          .scale = scale_of(size)};
}

// A block for each tile of positions, of channels, each head, each sequence.
Grid tiles_of(const AttentionArgs& a) {
  const int64_t tiles = (int64_t{a.time} + kAttentionTile - 1) / kAttentionTile;
  const int64_t chunks = (int64_t{a.size} + kAttentionTile - 1) / kAttentionTile;
  return {.x = as_int(tiles * chunks * a.heads * a.batch, "tiles")};
}

}  // namespace

void GpuOps::attention(const Attention& a) {
  assert(fits(a, on_device(a.qkv.dtype)));
  const AttentionArgs args = attention_args(a.out, a.heads, aligned(a.out.shape[2] / a.heads, {a.out, a.qkv}));
  launch(Kernel::attention, a.qkv.dtype, tiles_of(args), {a.out, a.lse, a.qkv}, args);
}

void GpuOps::attention_backward(const AttentionBackward& a) {
  assert(fits(a, on_device(a.qkv.dtype)));
  const DType real = a.qkv.dtype;
  const AttentionArgs args = attention_args(a.out, a.heads, aligned(a.out.shape[2] / a.heads, {a.dqkv, a.dout, a.qkv}));
  const Grid rows = grid_for(Kernel::attention_delta, a.lse.numel() * kSimd);
  launch(Kernel::attention_delta, real, rows, {a.delta, a.dout, a.out}, args);
  const Grid tiles = tiles_of(args);
  launch(Kernel::attention_backward_q, real, tiles, {a.dqkv, a.dout, a.qkv, a.lse, a.delta}, args);
  launch(Kernel::attention_backward_kv, real, tiles, {a.dqkv, a.dout, a.qkv, a.lse, a.delta}, args);
}

void GpuOps::cached_attention(const CachedAttention& a) {
  assert(fits(a, on_device(a.qkv.dtype)));
  const int64_t rows = a.out.rows(), size = a.out.cols() / a.heads;
  check(size <= kCachedAttentionSize, "cached attention: heads of {} channels; {} are the most that GPUs take", size,
        int{kCachedAttentionSize});
  const CachedAttentionArgs args = {.rows = as_int(rows, "rows"),
                                    .heads = a.heads,
                                    .size = static_cast<int>(size),
                                    .table_columns = as_int(a.table.cols(), "pages of a sequence"),
                                    .scale = scale_of(size)};
  launch(Kernel::cached_attention_write, a.qkv.dtype, grid_for(Kernel::cached_attention_write, a.out.numel()),
         {a.k_pages, a.v_pages, a.qkv, a.sequences, a.positions, a.table}, args);
  launch(Kernel::cached_attention, a.qkv.dtype, {.x = as_int(rows * a.heads, "rows of heads")},
         {a.out, a.qkv, a.k_pages, a.v_pages, a.sequences, a.positions, a.table}, args);
}

}  // namespace ink::gpu
