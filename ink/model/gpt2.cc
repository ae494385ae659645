#include "ink/model/gpt2.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <utility>

#include "ink/base/check.h"
#include "ink/model/gpt2_memory.h"
#include "ink/tensor/cast.h"

namespace ink {

namespace {

// Tokens of one step. Far beyond any machine, and small enough that no tensor's size comes near 2^63.
constexpr int64_t kMaxRows = int64_t{1} << 24;

void check_ids(std::span<const int32_t> ids, const char* what, int64_t vocab) {
  for (size_t i = 0; i < ids.size(); ++i) {
    check(ids[i] >= 0 && ids[i] < vocab, "{} {} at position {} of the batch is outside the vocabulary of {}", what,
          ids[i], i, vocab);
  }
}

// A tensor of any type, as floats.
void download_floats(Ops& ops, std::span<float> to, const Tensor& from) {
  if (from.dtype == DType::f32) return ops.download(to.data(), from);
  std::vector<std::byte> stored(from.bytes());
  ops.download(stored.data(), from);
  to_f32(from.dtype, stored.data(), to);
}

}  // namespace

struct Gpt2::Impl {
  Gpt2Config config;
  Gpt2Options options;
  Ops& ops;

  Plan plan;  // slots point into params and x
  std::vector<Param> params;
  Activations x;
  int64_t b = 0, t = 0;  // the size that x is laid out for
  std::unique_ptr<Buffer> memory;
  Weights w, dw;
  std::vector<float> losses;
  int64_t unread = 0;  // passes whose losses only x.losses has

  Impl(const Gpt2Config& c, const Gpt2Options& o, Ops& device) : config(c), options(o), ops(device) {}

  void set_size(int64_t batch, int64_t context);
  void round_weights(uint32_t seed);
  void load_tokens(std::span<const int32_t> tokens, int64_t batch, int64_t context);
  void load_targets(std::span<const int32_t> targets);
  void block_forward(size_t l, const Tensor& residual, const Tensor& branch);
  void forward();
  void clear_small_grads();
  void backward(bool accumulate);
  void block_backward(size_t l, bool accumulate);
  Tensor next_losses();
};

// A smaller step uses the beginning of the memory planned for the largest.
void Gpt2::Impl::set_size(int64_t batch, int64_t context) {
  check(batch >= 1 && batch <= options.batch, "a batch of {} does not fit the {} that memory was planned for", batch,
        options.batch);
  check(context >= 1 && context <= options.context,
        "a sequence of {} tokens does not fit the {} that memory was planned for", context, options.context);
  if (b == batch && t == context) return;
  std::byte* const start = x.tokens.data;  // the first tensor of the first of the arenas that change
  Plan smaller;
  plan_activations(smaller, x, config, options, ops.storage(), batch, context);
  smaller.bind(start);
  b = batch;
  t = context;
}

// The weights may have changed since the last pass: by an update, by loading.
void Gpt2::Impl::round_weights(uint32_t seed) {
  if (ops.storage() == DType::f32) return;
  for (size_t i = 0; i < params.size(); ++i) {
    const uint32_t own = seed == 0 ? 0 : random_bits(seed, i) | 1u;  // of this tensor
    ops.cast({.out = params[i].rounded, .in = params[i].weight, .seed = own});
  }
}

void Gpt2::Impl::load_tokens(std::span<const int32_t> tokens, int64_t batch, int64_t context) {
  set_size(batch, context);
  check(static_cast<int64_t>(tokens.size()) == b * t, "{} tokens given for a batch of {} x {}", tokens.size(), b, t);
  check_ids(tokens, "token", config.vocab);
  ops.upload(x.tokens, tokens.data());
}

void Gpt2::Impl::load_targets(std::span<const int32_t> targets) {
  check(static_cast<int64_t>(targets.size()) == b * t, "{} targets given for a batch of {} x {}", targets.size(), b, t);
  check_ids(targets, "target", config.vocab);
  ops.upload(x.targets, targets.data());
}

// One block as far as the hidden layer of its MLP, which is all that its backward pass wants. The layer norms also add
// the branch before them to the residual stream; an empty one leaves the stream as it is.
void Gpt2::Impl::block_forward(size_t l, const Tensor& residual, const Tensor& branch) {
  const BlockWeights& p = w.blocks[l];
  const BlockActivations& a = x.blocks[l];
  ops.add_layernorm({.in = branch,
                     .residual = residual,
                     .weight = p.ln1,
                     .bias = p.ln1_bias,
                     .sum = a.residual1,
                     .out = x.ln,
                     .mean = a.ln1_mean,
                     .rstd = a.ln1_rstd,
                     .eps = config.eps});
  ops.gemm({.a = x.ln, .b = p.qkv, .bias = p.qkv_bias, .out = a.qkv, .trans_b = true});
  ops.attention({.qkv = a.qkv, .out = a.att, .lse = a.lse, .heads = static_cast<int>(config.heads)});
  ops.gemm({.a = a.att, .b = p.att_proj, .bias = p.att_proj_bias, .out = x.branch, .trans_b = true});
  ops.add_layernorm({.in = x.branch,
                     .residual = a.residual1,
                     .weight = p.ln2,
                     .bias = p.ln2_bias,
                     .sum = a.residual2,
                     .out = x.ln,
                     .mean = a.ln2_mean,
                     .rstd = a.ln2_rstd,
                     .eps = config.eps});
  ops.gemm({.a = x.ln, .b = p.fc, .bias = p.fc_bias, .out = x.gelu, .gelu_in = a.fc, .trans_b = true});
}

// From tokens to the last layer norm.
void Gpt2::Impl::forward() {
  Tensor residual = x.blocks[0].residual1;
  Tensor branch;  // nothing to add yet
  ops.embed({.out = residual, .tokens = x.tokens, .wte = w.wte, .wpe = w.wpe});
  for (size_t l = 0; l < x.blocks.size(); ++l) {
    block_forward(l, residual, branch);
    const BlockWeights& p = w.blocks[l];
    ops.gemm({.a = x.gelu, .b = p.fc_proj, .bias = p.fc_proj_bias, .out = x.branch, .trans_b = true});
    residual = x.blocks[l].residual2;
    branch = x.branch;
  }
  ops.add_layernorm({.in = branch,
                     .residual = residual,
                     .weight = w.lnf,
                     .bias = w.lnf_bias,
                     .sum = x.residual,
                     .out = x.lnf,
                     .mean = x.lnf_mean,
                     .rstd = x.lnf_rstd,
                     .eps = config.eps});
}

// The gradients that are only ever added to. Those of matrices are written by the first product of a step, which saves
// a pass over all of them; a tied embedding's, which the classifier writes, is then added to as well.
void Gpt2::Impl::clear_small_grads() {
  for (const Param& p : params) {
    if (p.grad.shape.rank() == 1) ops.fill(p.grad, 0);
  }
  ops.fill(dw.wpe, 0);
  if (!config.tied) ops.fill(dw.wte, 0);
}

// From the gradient of the last layer norm's output, which the classifier left in dln, to the embeddings.
void Gpt2::Impl::backward(bool accumulate) {
  // Nothing but the last layer norm reads the end of the residual stream: there is no dresidual yet.
  ops.add_layernorm_backward({.dsum = x.dresidual,
                              .dweight = dw.lnf,
                              .dbias = dw.lnf_bias,
                              .dout = x.dln,
                              .sum = x.residual,
                              .weight = w.lnf,
                              .mean = x.lnf_mean,
                              .rstd = x.lnf_rstd});
  for (size_t l = x.blocks.size(); l-- > 0;) block_backward(l, accumulate);
  ops.embed_backward({.dwte = dw.wte, .dwpe = dw.wpe, .dout = x.dresidual, .tokens = x.tokens});
}

// One block. dresidual arrives as the gradient of the block's output and leaves as that of its input.
void Gpt2::Impl::block_backward(size_t l, bool accumulate) {
  const BlockWeights &p = w.blocks[l], &d = dw.blocks[l];
  const BlockActivations& a = x.blocks[l];
  // The gradients of a weight and a bias, where out = in · weightᵀ + bias.
  const auto linear_backward = [&](const Tensor& dout, const Tensor& in, const Tensor& dweight, const Tensor& dbias) {
    ops.gemm({.a = dout, .b = in, .out = dweight, .dbias = dbias, .trans_a = true, .accumulate = accumulate});
  };

  // With one place for all blocks, it holds the last one's activations at first.
  const bool kept = options.recompute == Recompute::none || l + 1 == x.blocks.size();
  if (!kept) block_forward(l, a.residual1, Tensor());

  ops.gemm({.a = x.dresidual, .b = p.fc_proj, .out = x.dfc, .dgelu_in = a.fc});
  ops.gelu({.out = a.fc, .in = a.fc});  // fc itself is not needed any more
  linear_backward(x.dresidual, a.fc, d.fc_proj, d.fc_proj_bias);
  ops.gemm({.a = x.dfc, .b = p.fc, .out = x.dln});
  ops.add_layernorm_backward({.dsum = x.dresidual,
                              .dweight = d.ln2,
                              .dbias = d.ln2_bias,
                              .out = x.ln,
                              .dresidual = x.dresidual,
                              .dout = x.dln,
                              .sum = a.residual2,
                              .weight = p.ln2,
                              .bias = p.ln2_bias,
                              .mean = a.ln2_mean,
                              .rstd = a.ln2_rstd});
  linear_backward(x.dfc, x.ln, d.fc, d.fc_bias);

  linear_backward(x.dresidual, a.att, d.att_proj, d.att_proj_bias);
  ops.gemm({.a = x.dresidual, .b = p.att_proj, .out = x.datt});
  ops.attention_backward({.dqkv = x.dqkv,
                          .dout = x.datt,
                          .qkv = a.qkv,
                          .out = a.att,
                          .lse = a.lse,
                          .delta = x.delta,
                          .heads = static_cast<int>(config.heads)});
  ops.gemm({.a = x.dqkv, .b = p.qkv, .out = x.dln});
  ops.add_layernorm_backward({.dsum = x.dresidual,
                              .dweight = d.ln1,
                              .dbias = d.ln1_bias,
                              .out = x.ln,
                              .dresidual = x.dresidual,
                              .dout = x.dln,
                              .sum = a.residual1,
                              .weight = p.ln1,
                              .bias = p.ln1_bias,
                              .mean = a.ln1_mean,
                              .rstd = a.ln1_rstd});
  linear_backward(x.dqkv, x.ln, d.qkv, d.qkv_bias);
}

// Where the losses (b·t) of the pass that begins go.
Tensor Gpt2::Impl::next_losses() {
  assert(unread < options.passes);
  return x.losses.slice_rows(unread++ * b, b);
}

Gpt2::Gpt2(const Gpt2Config& config, const Gpt2Options& options, Ops& ops)
    : impl_(std::make_unique<Impl>(config, options, ops)) {
  config.validate("model");
  Gpt2Options& o = impl_->options;
  if (o.context == 0) o.context = config.context;
  check(o.context >= 1 && o.context <= config.context,
        "context {} does not fit the model's, which is {}; use a smaller --context", o.context, config.context);
  check(o.batch >= 1 && o.batch <= kMaxRows / o.context,
        "a batch of {} sequences of {} tokens is out of range; batch times context must be from 1 to {}", o.batch,
        o.context, kMaxRows);
  check(o.passes >= 1 && o.passes <= kMaxRows / (o.batch * o.context),
        "a step of {} passes over {} tokens is out of range; its tokens must be from 1 to {}; use a smaller "
        "--total-batch",
        o.passes, o.batch * o.context, kMaxRows);
  plan_params(impl_->plan, impl_->params, config, o, ops.storage());
  plan_activations(impl_->plan, impl_->x, config, o, ops.storage(), o.batch, o.context);
  impl_->b = o.batch;
  impl_->t = o.context;
}

Gpt2::~Gpt2() = default;

const Gpt2Config& Gpt2::config() const { return impl_->config; }
const Gpt2Options& Gpt2::options() const { return impl_->options; }
const Plan& Gpt2::plan() const { return impl_->plan; }
Ops& Gpt2::ops() const { return impl_->ops; }
std::span<Param> Gpt2::params() { return impl_->params; }
std::span<const Param> Gpt2::params() const { return impl_->params; }
std::span<const float> Gpt2::losses() const { return impl_->losses; }

void Gpt2::allocate() {
  Impl& m = *impl_;
  const size_t needed = m.plan.bytes(), available = m.ops.memory();
  check(needed <= available, "the model needs {} but the {} device has {}; use {}a smaller model", human_bytes(needed),
        m.ops.name(), human_bytes(available),
        m.options.training ? "a smaller --batch or --seq-len, --recompute block or " : "");
  m.memory = m.ops.allocate(needed);
  m.plan.bind(m.memory->data());
  if (m.ops.storage() == DType::f32) {
    for (Param& p : m.params) p.rounded = p.weight;
  }
  m.w = weights_of(m.params, m.config.layers, &Param::rounded);
  if (m.options.training) m.dw = weights_of(m.params, m.config.layers, &Param::grad);
  m.losses.reserve(static_cast<size_t>(m.options.passes * m.options.batch * m.options.context));
}

void Gpt2::init(Mt19937& rng) {
  const Gpt2Config& c = impl_->config;
  // In llm.c's order of roundings, for the same bits.
  const float residual_scale = 1.0f / std::sqrt(2.0f * static_cast<float>(c.layers));
  std::vector<float> values;
  for (const Param& p : impl_->params) {
    values.assign(static_cast<size_t>(p.weight.numel()), p.spec->init == Init::ones ? 1.0f : 0.0f);
    const int64_t drawn = p.spec->vocab_rows ? c.vocab * p.weight.cols() : p.weight.numel();
    const std::span<float> head(values.data(), static_cast<size_t>(drawn));
    if (p.spec->init == Init::normal) rng.normal(head, 0, 0.02f);
    if (p.spec->init == Init::normal_residual) rng.normal(head, 0, 0.02f * residual_scale);
    impl_->ops.upload(p.weight, values.data());
  }
}

Tensor Gpt2::all_grads() const {
  assert(impl_->options.training);
  const auto elements = static_cast<int64_t>(impl_->plan.bytes("gradients") / sizeof(float));
  return {impl_->params.front().grad.data, DType::f32, {elements}};
}

float Gpt2::loss(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t) {
  Impl& m = *impl_;
  m.load_tokens(tokens, b, t);
  m.load_targets(targets);
  m.round_weights(0);
  m.forward();
  m.unread = 0;
  m.ops.classifier({.x = m.x.lnf,
                    .weight = m.w.head,
                    .targets = m.x.targets,
                    .losses = m.next_losses(),
                    .logits = m.x.logits,
                    .vocab = m.config.vocab});
  return static_cast<float>(mean_loss());
}

void Gpt2::backward(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t,
                    const Backward& how) {
  Impl& m = *impl_;
  assert(m.options.training && (m.unread == 0 || (b == m.b && t == m.t)));
  m.load_tokens(tokens, b, t);
  m.load_targets(targets);
  if (!how.accumulate) m.round_weights(how.rounding);
  m.forward();
  m.ops.classifier({.x = m.x.lnf,
                    .weight = m.w.head,
                    .targets = m.x.targets,
                    .losses = m.next_losses(),
                    .dx = m.x.dln,
                    .dweight = m.dw.head,
                    .logits = m.x.logits,
                    .vocab = m.config.vocab,
                    .dloss = how.grad_scale / static_cast<float>(b * t),
                    .accumulate = how.accumulate});
  if (!how.accumulate) m.clear_small_grads();
  m.backward(how.accumulate);
}

double Gpt2::mean_loss() {
  Impl& m = *impl_;
  assert(m.unread > 0);
  const int64_t passes = std::exchange(m.unread, 0);
  const auto rows = static_cast<size_t>(m.b * m.t);
  m.losses.resize(static_cast<size_t>(passes) * rows);
  m.ops.download(m.losses.data(), m.x.losses.slice_rows(0, passes * m.b));
  double sum = 0;
  for (auto pass = m.losses.begin(); pass != m.losses.end(); pass += static_cast<std::ptrdiff_t>(rows)) {
    const double total = std::accumulate(pass, pass + static_cast<std::ptrdiff_t>(rows), 0.0);
    sum += static_cast<float>(total / static_cast<double>(rows));
  }
  return sum / static_cast<double>(passes);
}

float Gpt2::loss_and_backward(std::span<const int32_t> tokens, std::span<const int32_t> targets, int64_t b, int64_t t,
                              const Backward& how) {
  backward(tokens, targets, b, t, how);
  return static_cast<float>(mean_loss());
}

void Gpt2::logits(std::span<const int32_t> tokens, int64_t b, int64_t t, std::span<const int64_t> rows,
                  std::span<float> out) {
  Impl& m = *impl_;
  const int64_t count = static_cast<int64_t>(rows.size()), vocab = m.config.vocab;
  assert(static_cast<int64_t>(out.size()) == count * vocab);
  m.load_tokens(tokens, b, t);
  m.round_weights(0);
  m.forward();
  for (int64_t begin = 0; begin < count; begin += m.x.logits.rows()) {
    // The branch buffer is free after the forward pass: gather the wanted rows there.
    const int64_t chunk = std::min(count - begin, m.x.logits.rows());
    const Tensor gathered = m.x.branch.slice_rows(0, chunk), logits = m.x.logits.slice_rows(0, chunk);
    for (int64_t i = 0; i < chunk; ++i) {
      const int64_t row = rows[static_cast<size_t>(begin + i)];
      check(row >= 0 && row < b * t, "row {} is outside the batch of {} x {}", row, b, t);
      m.ops.copy(gathered.slice_rows(i, 1), m.x.lnf.slice_rows(row, 1));
    }
    m.ops.gemm({.a = gathered, .b = m.w.head, .out = logits, .trans_b = true});
    for (int64_t i = 0; i < chunk; ++i) {
      const Tensor row(logits.slice_rows(i, 1).data, logits.dtype, {vocab});
      download_floats(m.ops, {out.data() + (begin + i) * vocab, static_cast<size_t>(vocab)}, row);
    }
  }
}

std::string Gpt2::first_non_finite() const {
  const Impl& m = *impl_;
  for (const Param& p : m.params) {
    if (!m.ops.all_finite(p.weight)) return p.name;
  }
  // What layers share holds the last writer's values: it comes after what tells the layer.
  for (const Keep keep : {Keep::own, Keep::shared}) {
    for (const Plan::Entry& e : m.plan.entries()) {
      const bool activation = m.plan.arenas()[e.arena].name == "activations" && e.slot->dtype != DType::i32;
      if (activation && e.keep == keep && !m.ops.all_finite(*e.slot)) return e.name;
    }
  }
  for (const Param& p : m.params) {
    if (p.grad && !m.ops.all_finite(p.grad)) return "gradient of " + p.name;
  }
  return "";
}

}  // namespace ink
