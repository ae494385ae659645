#include "ink/model/gpt2_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace ink {

namespace {
// Rows of logits that exist at a time: enough to keep a matrix multiplication busy, little beside the weights.
constexpr int64_t kLogitsRows = 256;
}  // namespace

Weights weights_of(const std::vector<Param>& params, int64_t layers, Tensor Param::*member) {
  auto next = params.begin();
  const auto take = [&] { return (*next++).*member; };
  Weights w;
  w.wte = take();
  w.wpe = take();
  for (int64_t l = 0; l < layers; ++l) {
    BlockWeights& block = w.blocks.emplace_back();
    for (Tensor* slot :
         {&block.ln1, &block.ln1_bias, &block.qkv, &block.qkv_bias, &block.att_proj, &block.att_proj_bias, &block.ln2,
          &block.ln2_bias, &block.fc, &block.fc_bias, &block.fc_proj, &block.fc_proj_bias}) {
      *slot = take();
    }
  }
  w.lnf = take();
  w.lnf_bias = take();
  w.head = next == params.end() ? w.wte : take();
  assert(next == params.end());
  return w;
}

void plan_params(Plan& plan, std::vector<Param>& params, const Gpt2Config& config, const Gpt2Options& options,
                 DType storage) {
  for_each_param(config, [&](const ParamSpec& spec, int64_t layer) {
    Param param{param_name(spec, layer), &spec, layer, {}, {}, {}, {}};
    param.state.resize(options.optimizer_state.size());
    params.push_back(std::move(param));
  });

  // params no longer moves: its tensors can be slots.
  for (Param& p : params) plan.add(&p.weight, "parameters", p.name, DType::f32, p.spec->shape(config));
  if (storage != DType::f32) {
    for (Param& p : params) plan.add(&p.rounded, "rounded parameters", p.name, storage, p.spec->shape(config));
  }
  if (options.training) {
    for (Param& p : params) plan.add(&p.grad, "gradients", p.name, DType::f32, p.spec->shape(config));
  }
  for (size_t i = 0; i < options.optimizer_state.size(); ++i) {
    const std::string arena = "optimizer " + options.optimizer_state[i];
    for (Param& p : params) plan.add(&p.state[i], arena, p.name, DType::f32, p.spec->shape(config));
  }
}

void plan_activations(Plan& plan, Activations& x, const Gpt2Config& config, const Gpt2Options& options, DType storage,
                      int64_t b, int64_t t) {
  const int64_t C = config.channels, NH = config.heads;
  const Shape rows = {b, t}, heads = {b, NH, t};
  const Shape channels = {b, t, C}, channels3 = {b, t, 3 * C}, channels4 = {b, t, 4 * C};

  // What the backward pass needs of every block has its own place in each; where it makes the block again, all blocks
  // share one, and so they do where there is no backward pass.
  const Keep keep_input = options.training ? Keep::own : Keep::shared;
  const Keep keep = options.recompute == Recompute::block ? Keep::shared : keep_input;

  const auto add = [&](Tensor& slot, const char* name, const Shape& shape, DType dtype) {
    plan.add(&slot, "activations", name, dtype, shape);
  };
  add(x.tokens, "tokens", rows, DType::i32);
  add(x.targets, "targets", rows, DType::i32);

  x.blocks.resize(static_cast<size_t>(config.layers));
  for (size_t l = 0; l < x.blocks.size(); ++l) {
    const auto add_block = [&](Tensor& slot, const char* name, const Shape& shape, Keep how, DType dtype) {
      plan.add(&slot, "activations", how == Keep::own ? fmt::format("h.{}.{}", l, name) : name, dtype, shape, how);
    };
    BlockActivations& a = x.blocks[l];
    add_block(a.residual1, "residual1", channels, keep_input, storage);
    add_block(a.ln1_mean, "ln_1.mean", rows, keep, DType::f32);
    add_block(a.ln1_rstd, "ln_1.rstd", rows, keep, DType::f32);
    add_block(a.qkv, "qkv", channels3, keep, storage);
    add_block(a.att, "att", channels, keep, storage);
    add_block(a.lse, "lse", heads, keep, DType::f32);
    add_block(a.residual2, "residual2", channels, keep, storage);
    add_block(a.ln2_mean, "ln_2.mean", rows, keep, DType::f32);
    add_block(a.ln2_rstd, "ln_2.rstd", rows, keep, DType::f32);
    add_block(a.fc, "fc", channels4, keep, storage);
  }
  add(x.residual, "residual", channels, storage);
  add(x.lnf, "ln_f", channels, storage);
  add(x.lnf_mean, "ln_f.mean", rows, DType::f32);
  add(x.lnf_rstd, "ln_f.rstd", rows, DType::f32);
  add(x.losses, "losses", {options.passes * b, t}, DType::f32);

  const auto add_scratch = [&](Tensor& slot, const char* name, const Shape& shape) {
    plan.add(&slot, "scratch", name, storage, shape, Keep::shared);
  };
  add_scratch(x.logits, "logits", {std::min(b * t, kLogitsRows), config.padded_vocab()});
  add_scratch(x.ln, "ln", channels);
  add_scratch(x.branch, "branch", channels);
  add_scratch(x.gelu, "hidden", channels4);
  if (!options.training) return;
  add_scratch(x.dln, "ln", channels);
  add_scratch(x.datt, "branch", channels);
  add_scratch(x.dfc, "hidden", channels4);
  add_scratch(x.dqkv, "hidden", channels3);
  add_scratch(x.dresidual, "dresidual", channels);
  plan.add(&x.delta, "scratch", "delta", DType::f32, heads, Keep::shared);
}

}  // namespace ink
