// Optimizers, and the reductions that training asks the device for.
#include <algorithm>
#include <cassert>
#include <vector>

#include "ink/gpu/gpu_ops.h"

namespace ink::gpu {

namespace {

constexpr int64_t kMostPartials = 1024;  // blocks of a reduction: enough to fill any card

}  // namespace

double GpuOps::sum_squares(const Tensor& x) {
  const Grid all = grid_for(Kernel::sum_squares, x.numel());
  const Grid grid = {.x = static_cast<int>(std::min<int64_t>(all.x, kMostPartials))};
  const Tensor partial = scratch(Scratch::partial, DType::f32, grid.x);
  launch(Kernel::sum_squares, x.dtype, grid, {partial, x}, SumSquaresArgs{.n = x.numel()});
  std::vector<float> sums(static_cast<size_t>(grid.x));
  download(sums.data(), partial);
  double sum = 0;
  for (const float s : sums) sum += s;
  return sum;
}

}  // namespace ink::gpu
