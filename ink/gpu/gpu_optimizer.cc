// Optimizers, and the reductions that training asks the device for.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "ink/gpu/gpu_ops.h"
#include "ink/ops/check_args.h"

namespace ink::gpu {

namespace {

constexpr int kMostPartials = 1024;  // blocks of a reduction: enough to fill any card

}  // namespace

void GpuOps::adamw(const AdamW& a) {
  assert(fits(a));
  const int64_t n = a.param.numel();
  const auto step = static_cast<double>(a.step);
  launch(Kernel::adamw, DType::f32, grid_for(Kernel::adamw, (n + 3) / 4), {a.param, a.grad, a.m, a.v},
         AdamWArgs{.n = n,
                   .lr = a.lr,
                   .beta1 = a.beta1,
                   .beta2 = a.beta2,
                   .eps = a.eps,
                   .weight_decay = a.weight_decay,
                   .grad_scale = a.grad_scale,
                   .m_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta1}, step))),
                   .v_scale = static_cast<float>(1 / (1 - std::pow(double{a.beta2}, step))),
                   .aligned = aligned(4, {a.param, a.grad, a.m, a.v})});
}

void GpuOps::sgd(const Sgd& a) {
  assert(fits(a));
  const int64_t n = a.param.numel();
  launch(Kernel::sgd, DType::f32, grid_for(Kernel::sgd, (n + 3) / 4), {a.param, a.grad, a.m},
         SgdArgs{.n = n,
                 .lr = a.lr,
                 .momentum = a.momentum,
                 .weight_decay = a.weight_decay,
                 .grad_scale = a.grad_scale,
                 .aligned = aligned(4, {a.param, a.grad, a.m})});
}

double GpuOps::sum_squares(const Tensor& x) {
  const Grid grid = {.x = std::min(grid_for(Kernel::sum_squares, x.numel()).x, kMostPartials)};
  const Tensor partial = scratch(Scratch::partial, DType::f32, grid.x);
  launch(Kernel::sum_squares, x.dtype, grid, {partial, x}, SumSquaresArgs{.n = x.numel()});
  std::vector<float> sums(static_cast<size_t>(grid.x));
  download(sums.data(), partial);
  double sum = 0;
  for (const float s : sums) sum += s;
  return sum;
}

bool GpuOps::all_finite(const Tensor& x) {
  const Grid grid = {.x = std::min(grid_for(Kernel::count_not_finite, x.numel()).x, kMostPartials)};
  const Tensor partial = scratch(Scratch::partial, DType::f32, grid.x);
  launch(Kernel::count_not_finite, x.dtype, grid, {partial, x}, CountNotFiniteArgs{.n = x.numel()});
  std::vector<float> counts(static_cast<size_t>(grid.x));
  download(counts.data(), partial);
  return std::ranges::all_of(counts, [](float count) { return count == 0; });
}

}  // namespace ink::gpu
