// Embeddings and layer norms: operations row by row, and the sums over rows that their parameters' gradients are.
#include <algorithm>
#include <cassert>
#include <utility>

#include "ink/gpu/gpu_ops.h"
#include "ink/ops/check_args.h"

namespace ink::gpu {

namespace {

constexpr int kColumns = 4 * kSimd;       // of a block that sums columns: four a lane
constexpr int64_t kFewestStripRows = 32;  // a block's, before it is worth to have more blocks
constexpr int64_t kMostStrips = 128;

static_assert(kTypeF32 == static_cast<int>(DType::f32) && kTypeF16 == static_cast<int>(DType::f16) &&
              kTypeBf16 == static_cast<int>(DType::bf16) && kTypeQ8 == static_cast<int>(DType::q8_0) &&
              kTypeQ4 == static_cast<int>(DType::q4_0));

int blocks_of_columns(int64_t cols) { return static_cast<int>((cols + kColumns - 1) / kColumns); }

}  // namespace

void GpuOps::embed(const Embed& a) {
  const DType real = a.out.dtype;
  assert(fits(a, on_device(real)));
  const bool any = a.wte.dtype != real;
  const Kernel kernel = any ? Kernel::embed_any : Kernel::embed;
  launch(kernel, real, grid_for(kernel, a.out.rows() * kSimd), {a.out, a.tokens, a.wte, a.wpe, a.positions},
         EmbedArgs{.rows = to_int(a.out.rows()),
                   .time = to_int(a.out.shape[1]),
                   .cols = to_int(a.out.cols()),
                   .type = static_cast<int>(a.wte.dtype),
                   .has_positions = a.positions ? 1 : 0,
                   .aligned = aligned(a.out.cols(), {a.out, a.wpe, any ? Tensor() : a.wte})});
}

void GpuOps::embed_backward(const EmbedBackward& a) {
  const DType real = a.dout.dtype;
  assert(fits(a, on_device(real)));
  const int64_t rows = a.dout.rows(), time = a.dout.shape[1], cols = a.dout.cols();
  const EmbedBackwardArgs args = {
      .rows = to_int(rows), .time = to_int(time), .cols = to_int(cols), .aligned = aligned(cols, {a.dwpe, a.dout})};
  launch(Kernel::embed_backward_positions, real, grid_for(Kernel::embed_backward_positions, time * kSimd),
         {a.dwpe, a.dout}, args);
  const Tensor memory = scratch(Scratch::partial, DType::i32, 2 * rows);
  Tensor order(memory.data, DType::i32, {rows}), other(memory.data + order.bytes(), DType::i32, {rows});
  SortTokensArgs sort = {.rows = args.rows, .run = threads_of(Kernel::sort_tokens)};
  launch(Kernel::sort_tokens, real, grid_for(Kernel::sort_tokens, rows), {order, a.tokens}, sort);
  for (int64_t run = sort.run; run < rows; run *= 2) {
    sort.run = to_int(run);
    launch(Kernel::merge_tokens, real, grid_for(Kernel::merge_tokens, rows), {other, order, a.tokens}, sort);
    std::swap(order, other);
  }
  const Tensor& count = other;
  launch(Kernel::count_tokens, real, grid_for(Kernel::count_tokens, rows), {count, order, a.tokens}, sort);
  launch(Kernel::embed_backward_tokens, real, {.x = to_int(rows), .y = blocks_of_columns(cols)},
         {a.dwte, a.dout, a.tokens, order, count}, args);
}

void GpuOps::add_layernorm(const AddLayerNorm& a) {
  const DType real = a.out.dtype;
  assert(fits(a, on_device(real)));
  const int64_t rows = a.out.rows(), cols = a.out.cols();
  launch(Kernel::add_layernorm, real, grid_for(Kernel::add_layernorm, rows * kSimd),
         {a.out, a.sum, a.mean, a.rstd, a.in, a.residual, a.weight, a.bias},
         LayerNormArgs{.rows = to_int(rows),
                       .cols = to_int(cols),
                       .eps = a.eps,
                       .has_in = a.in ? 1 : 0,
                       .has_sum = a.sum ? 1 : 0,
                       .has_out = 1,
                       .aligned = aligned(cols, {a.out, a.sum, a.in, a.residual, a.weight, a.bias})});
}

void GpuOps::add_layernorm_backward(const AddLayerNormBackward& a) {
  const DType real = a.dsum.dtype;
  assert(fits(a, on_device(real)));
  const int64_t rows = a.dsum.rows(), cols = a.dsum.cols();
  const int64_t strip = std::max((rows + kMostStrips - 1) / kMostStrips, kFewestStripRows);
  const int64_t strips = (rows + strip - 1) / strip;
  const int fours = aligned(cols, {a.dsum, a.dresidual, a.out, a.dout, a.sum, a.weight, a.bias});
  // The parameters first: out may be dout.
  const Tensor partial = scratch(Scratch::partial, DType::f32, strips * 2 * cols);
  launch(Kernel::layernorm_backward_params, real, {.x = blocks_of_columns(cols), .y = to_int(strips)},
         {partial, a.dout, a.sum, a.mean, a.rstd},
         LayerNormParamsArgs{.rows = to_int(rows), .cols = to_int(cols), .strip = to_int(strip), .aligned = fours});
  const AddPartialsArgs add = {.rows = to_int(strips), .cols = to_int(cols), .stride = to_int(2 * cols)};
  const Grid grid = {.x = to_int((cols + kSimd - 1) / kSimd)};
  launch(Kernel::add_partials, DType::f32, grid, {a.dweight, partial}, add);
  const Tensor second(partial.data + bytes_of(DType::f32, cols), DType::f32, {partial.numel() - cols});
  launch(Kernel::add_partials, DType::f32, grid, {a.dbias, second}, add);
  launch(Kernel::layernorm_backward, real, grid_for(Kernel::layernorm_backward, rows * kSimd),
         {a.dsum, a.out, a.dresidual, a.dout, a.sum, a.weight, a.bias, a.mean, a.rstd},
         LayerNormArgs{.rows = to_int(rows),
                       .cols = to_int(cols),
                       .eps = 0,
                       .has_in = a.dresidual ? 1 : 0,
                       .has_sum = 1,
                       .has_out = a.out ? 1 : 0,
                       .aligned = fours});
}

}  // namespace ink::gpu
