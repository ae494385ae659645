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

constexpr int64_t kEnoughBlocks = 256;   // to fill any card
constexpr int64_t kColumnsOfBlock = 32;  // that column_sums sums
constexpr int64_t kLeastSlice = 256;     // terms of a sum that are worth a block of their own

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Whether every row begins where four elements may be read at once.
bool has_vectors(const Tensor& t) {
  return t.cols() % 4 == 0 && reinterpret_cast<uintptr_t>(t.data) % (4 * block_bytes(t.dtype)) == 0;
}

GemmArgs args_of(const Gemm& a, DType products) {
  const auto [m, n, k] = dims_of(a);
  check(std::max({m, n, k}) <= INT32_MAX - kGemmTile, "a product of {} x {} x {} is too large for the GPU's kernels", m,
        n, k);
  return {.m = static_cast<int>(m),
          .n = static_cast<int>(n),
          .k = static_cast<int>(k),
          .blocks_n = static_cast<int>(divided_up(n, kGemmTile)),
          .slice_k = static_cast<int>(k),
          .trans_a = a.trans_a,
          .trans_b = a.trans_b,
          .accumulate = a.accumulate,
          .has_bias = static_cast<bool>(a.bias),
          .has_gelu_in = static_cast<bool>(a.gelu_in),
          .has_dgelu_in = static_cast<bool>(a.dgelu_in),
          .round = products == DType::bf16,
          .vectors_a = has_vectors(a.a),
          .vectors_b = has_vectors(a.b)};
}

Grid tiles_of(const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const int64_t blocks = divided_up(m, kGemmTile) * divided_up(n, kGemmTile);
  check(blocks <= INT32_MAX, "a product of {} x {} x {} is too large for the GPU's kernels", m, n, k);
  return {.x = static_cast<int>(blocks)};
}

}  // namespace

void GpuOps::gemm(const Gemm& a) {
  assert(fits(a, on_device(a.a.dtype)));
  if (a.dbias) add_column_sums(a.dbias, a.a);
  Gemm product = a;
  product.dbias = {};
  if (!gemm_by_library(product)) gemm_by_tiles(product);
}

// All of it, or the bare product, and the rest by a kernel.
bool GpuOps::gemm_by_library(const Gemm& a) {
  if (gpu_->gemm(a, products_)) return true;
  const bool epilogue = a.bias || a.gelu_in || a.dgelu_in;
  if (!epilogue || a.trans_a) return false;
  if (!gpu_->gemm({.a = a.a, .b = a.b, .out = a.out, .trans_b = a.trans_b, .accumulate = a.accumulate}, products_)) {
    return false;
  }
  launch(Kernel::gemm_epilogue, a.a.dtype, grid_for(Kernel::gemm_epilogue, a.out.numel()),
         {a.out, a.bias, a.gelu_in, a.dgelu_in}, args_of(a, products_));
  return true;
}

void GpuOps::gemm_by_tiles(const Gemm& a) {
  GemmArgs args = args_of(a, products_);
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

// out(cols) += the sums of in's columns.
void GpuOps::add_column_sums(const Tensor& out, const Tensor& in) {
  const int64_t rows = in.rows(), cols = in.cols();
  const int64_t blocks = divided_up(cols, kColumnsOfBlock);
  const int64_t most = std::clamp<int64_t>(kEnoughBlocks / blocks, 1, divided_up(rows, 64));
  const int64_t slice_rows = divided_up(rows, most), slices = divided_up(rows, slice_rows);
  const Tensor partial = scratch(Scratch::gemm, DType::f32, slices * cols);
  launch(
      Kernel::column_sums, in.dtype, {.x = static_cast<int>(blocks), .y = static_cast<int>(slices)}, {partial, in},
      ColumnSumsArgs{
          .rows = static_cast<int>(rows), .cols = static_cast<int>(cols), .slice_rows = static_cast<int>(slice_rows)});
  launch(Kernel::sum_slices, DType::f32, grid_for(Kernel::sum_slices, cols), {out, partial},
         SumSlicesArgs{.n = cols, .slices = static_cast<int>(slices), .accumulate = 1});
}

}  // namespace ink::gpu
