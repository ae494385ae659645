// Matrix products: the device's library where it has them, or else the kernels of gemm.k.h and gemm_weights.k.h.
// Of those a row's bits do not depend on how many rows there are; of a library's they may.
#include <algorithm>
#include <cassert>
#include <cstdint>

#include "ink/base/check.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/ops/check_args.h"

namespace ink::gpu {

namespace {

constexpr int64_t kEnoughBlocks = 256;  // to fill any card
constexpr int64_t kLeastSlice = 256;    // terms of a sum that are worth a block of their own

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Squares of out.
Grid tiles_of(const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const int64_t blocks = divided_up(m, kGemmTile) * divided_up(n, kGemmTile);
  check(blocks <= INT32_MAX, "a product of {} x {} x {} is too large for the GPU's kernels", m, n, k);
  return {.x = static_cast<int>(blocks)};
}

}  // namespace

GemmArgs GpuOps::gemm_args(const Gemm& a) const {
  const auto [m, n, k] = dims_of(a);
  return {.m = to_int(m),
          .n = to_int(n),
          .k = to_int(k),
          .blocks_n = to_int(divided_up(n, kGemmTile)),
          .slice_k = to_int(k),
          .trans_a = a.trans_a,
          .trans_b = a.trans_b,
          .accumulate = a.accumulate,
          .has_bias = static_cast<bool>(a.bias),
          .has_gelu_in = static_cast<bool>(a.gelu_in),
          .has_dgelu_in = static_cast<bool>(a.dgelu_in),
          .round = storage_ == DType::bf16,
          .aligned_a = aligned(a.a.cols(), {a.a}),
          .aligned_b = aligned(a.b.cols(), {a.b}),
          .type_b = static_cast<int>(a.b.dtype)};
}

void GpuOps::gemm(const Gemm& a) {
  assert(fits(a, on_device(a.a.dtype)));
  if (a.dbias) add_column_sums(a.dbias, a.a);
  Gemm product = a;
  product.dbias = {};
  if (gemm_by_library(product)) return;
  if (block_of(a.b.dtype) > 1) return gemm_by_blocks(product);
  const bool halves = a.b.dtype != a.a.dtype;
  const bool few = dims_of(a).m <= kFewRows && !a.trans_a && a.trans_b && !a.accumulate && !a.dgelu_in;
  const std::initializer_list<Tensor> buffers = {a.out, a.a, a.b, a.bias, a.gelu_in};
  if (few) return gemm_of_few_rows(halves ? Kernel::gemv_halves : Kernel::gemv, buffers, a);
  if (halves) return launch(Kernel::gemm_halves, a.a.dtype, tiles_of(a), buffers, gemm_args(a));
  gemm_by_tiles(product);
}

// All of it, or the bare product, and the rest by a kernel.
bool GpuOps::gemm_by_library(const Gemm& a) {
  if (gpu_->gemm(a, storage_)) return true;
  const bool epilogue = a.bias || a.gelu_in || a.dgelu_in;
  if (!epilogue || a.trans_a) return false;
  if (!gpu_->gemm({.a = a.a, .b = a.b, .out = a.out, .trans_b = a.trans_b, .accumulate = a.accumulate}, storage_)) {
    return false;
  }
  launch(Kernel::gemm_epilogue, a.a.dtype, grid_for(Kernel::gemm_epilogue, a.out.numel()),
         {a.out, a.bias, a.gelu_in, a.dgelu_in}, gemm_args(a));
  return true;
}

void GpuOps::gemm_by_tiles(const Gemm& a) {
  GemmArgs args = gemm_args(a);
  Grid grid = tiles_of(a);
  const auto launch_as = [&](Kernel kernel, const Tensor& out) {
    launch(kernel, a.a.dtype, grid, {out, a.a, a.b, a.bias, a.gelu_in, a.dgelu_in}, args);
  };
  if (!a.trans_a) return launch_as(Kernel::gemm, a.out);
  // Few squares of long sums, as gradients of small models' weights are: slices of the sums give work to every core of
  // the card. How many depends on the sizes alone, and so do the bits.
  const bool bare = !a.bias && !a.gelu_in && !a.dgelu_in;
  const int64_t slices = std::min(divided_up(kEnoughBlocks, grid.x), args.k / kLeastSlice);
  if (!bare || slices < 2) return launch_as(Kernel::gemm_gradient, a.out);
  args.slice_k = static_cast<int>(divided_up(divided_up(args.k, slices), kGemmGroup) * kGemmGroup);
  args.accumulate = 0;
  grid.y = static_cast<int>(divided_up(args.k, args.slice_k));
  const Tensor partial = scratch(Scratch::gemm, DType::f32, grid.y * a.out.numel());
  launch_as(Kernel::gemm_gradient, partial);
  launch(Kernel::sum_slices, DType::f32, grid_for(Kernel::sum_slices, a.out.numel()), {a.out, partial},
         SumSlicesArgs{.n = a.out.numel(), .slices = grid.y, .accumulate = a.accumulate});
}

// b's blocks by a's, to which it is rounded first.
void GpuOps::gemm_by_blocks(const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const Tensor memory = scratch(Scratch::quantized, DType::i32, m * k / 4 + m * k / 32);
  const Tensor q = {memory.data, DType::i32, {m * k / 4}};
  const Tensor d = {memory.data + q.bytes(), DType::f32, {m * k / 32}};
  launch(Kernel::quantize, a.a.dtype, grid_for(Kernel::quantize, m * k / 4), {q, d, a.a},
         QuantizeArgs{.n = m * k, .aligned = aligned(k, {a.a})});
  const std::initializer_list<Tensor> buffers = {a.out, q, d, a.b, a.bias, a.gelu_in};
  if (m <= kFewRows) return gemm_of_few_rows(Kernel::gemv_blocks, buffers, a);
  launch(Kernel::gemm_blocks, a.a.dtype, tiles_of(a), buffers, gemm_args(a));
}

void GpuOps::gemm_of_few_rows(Kernel kernel, std::initializer_list<Tensor> buffers, const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const Grid grid = {.x = to_int(divided_up(n, kGemvCols)), .y = to_int(divided_up(m, kGemvRows))};
  launch(kernel, a.a.dtype, grid, buffers, gemm_args(a));
}

// out(cols) += the sums of in's columns.
void GpuOps::add_column_sums(const Tensor& out, const Tensor& in) {
  const int64_t rows = in.rows(), cols = in.cols();
  const int64_t blocks = divided_up(cols, kSimd);
  const int64_t most = std::clamp<int64_t>(kEnoughBlocks / blocks, 1, divided_up(rows, 64));
  const int64_t slice_rows = divided_up(rows, most), slices = divided_up(rows, slice_rows);
  const Tensor partial = scratch(Scratch::gemm, DType::f32, slices * cols);
  launch(Kernel::column_sums, in.dtype, {.x = to_int(blocks), .y = to_int(slices)}, {partial, in},
         ColumnSumsArgs{.rows = to_int(rows), .cols = to_int(cols), .slice_rows = to_int(slice_rows)});
  launch(Kernel::sum_slices, DType::f32, grid_for(Kernel::sum_slices, cols), {out, partial},
         SumSlicesArgs{.n = cols, .slices = to_int(slices), .accumulate = 1});
}

}  // namespace ink::gpu
