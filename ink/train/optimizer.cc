#include "ink/train/optimizer.h"

#include <array>

#include "ink/base/suggest.h"

namespace ink {

namespace {

void adamw(Ops& ops, const Param& p, const OptimizerOptions& o, const UpdateStep& s) {
  ops.adamw({.param = p.weight,
             .grad = p.grad,
             .m = p.state[0],
             .v = p.state[1],
             .lr = s.lr,
             .beta1 = o.beta1,
             .beta2 = o.beta2,
             .eps = o.epsilon,
             .weight_decay = p.spec->decay ? o.weight_decay : 0.0f,
             .grad_scale = s.grad_scale,
             .step = s.step});
}

void sgd(Ops& ops, const Param& p, const OptimizerOptions& o, const UpdateStep& s) {
  ops.sgd({.param = p.weight,
           .grad = p.grad,
           .m = p.state[0],
           .lr = s.lr,
           .momentum = o.momentum,
           .weight_decay = p.spec->decay ? o.weight_decay : 0.0f,
           .grad_scale = s.grad_scale});
}

constexpr std::array<std::string_view, 2> kAdamWState = {"m", "v"};
constexpr std::array<std::string_view, 1> kSgdState = {"momentum"};

constexpr std::array kOptimizers = {
    Optimizer{"adamw", "AdamW: --beta1 --beta2 --epsilon --weight-decay", kAdamWState, adamw},
    Optimizer{"sgd", "SGD with momentum: --momentum --weight-decay", kSgdState, sgd},
};

}  // namespace

std::span<const Optimizer> optimizers() { return kOptimizers; }

const Optimizer& find_optimizer(std::string_view name) {
  std::array<std::string_view, kOptimizers.size()> names;
  for (size_t i = 0; i < names.size(); ++i) {
    names[i] = kOptimizers[i].name;
    if (names[i] == name) return kOptimizers[i];
  }
  fail_unknown("optimizer", name, names);
}

}  // namespace ink
