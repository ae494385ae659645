#include "ink/model/gpt2_inference.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "ink/base/check.h"

namespace ink {

namespace {

// Rows of logits that exist at a time while losses are computed.
constexpr int64_t kLossRows = 64;

struct Activations {
  Tensor tokens, sequences, positions, targets;  // (R) i32
  Tensor residual, ln, branch;                   // (R,C)
  Tensor mean, rstd, losses;                     // (R)
  Tensor qkv, att, hidden;                       // (R,3C), (R,C), (R,4C)
  Tensor last;                                   // (sequences,C): the last layer norm's output of each last token
  Tensor logits;                                 // (rows,V)
};

void plan_activations(Plan& plan, Activations& x, const Gpt2Config& config, const InferenceOptions& options) {
  const int64_t R = options.rows, C = config.channels;
  const auto add = [&](Tensor& slot, const char* name, const Shape& shape, DType dtype = DType::f32) {
    plan.add(&slot, "activations", name, dtype, shape);
  };
  add(x.tokens, "tokens", {R}, DType::i32);
  add(x.sequences, "sequences", {R}, DType::i32);
  add(x.positions, "positions", {R}, DType::i32);
  add(x.targets, "targets", {R}, DType::i32);
  add(x.residual, "residual", {R, C});
  add(x.ln, "ln", {R, C});
  add(x.branch, "branch", {R, C});
  add(x.mean, "mean", {R});
  add(x.rstd, "rstd", {R});
  add(x.losses, "losses", {R});
  add(x.qkv, "qkv", {R, 3 * C});
  add(x.att, "att", {R, C});
  add(x.hidden, "hidden", {R, 4 * C});
  add(x.last, "last", {options.sequences, C});
  add(x.logits, "logits", {std::max(options.sequences, std::min(kLossRows, R)), config.vocab});
}

// The first n elements, or rows.
Tensor first(const Tensor& t, int64_t n) {
  return t.shape.rank() == 1 ? Tensor(t.data, t.dtype, {n}) : t.slice_rows(0, n);
}

InferenceOptions resolve(InferenceOptions o, const Gpt2Config& config) {
  if (o.context == 0) o.context = config.context;
  check(o.context >= 1 && o.context <= config.context, "context {} does not fit the model's, which is {}", o.context,
        config.context);
  assert(o.sequences >= 1 && o.rows >= 1);
  return o;
}

}  // namespace

size_t InferenceWeights::bytes_per_token() const {
  size_t bytes =
      lnf.bytes() + lnf_bias.bytes() + head.bytes() + bytes_of(wte.dtype, wte.cols()) + bytes_of(wpe.dtype, wpe.cols());
  for (const Block& b : blocks) {
    for (const Tensor* t : {&b.ln1, &b.ln1_bias, &b.ln2, &b.ln2_bias}) bytes += t->bytes();
    for (const Linear* l : {&b.qkv, &b.att_proj, &b.fc, &b.fc_proj}) bytes += l->weight.bytes() + l->bias.bytes();
  }
  return bytes;
}

struct Gpt2Inference::Impl {
  // What some of the rows that are computed at a time hold: from row `row` on, `count` tokens of batch[index], which
  // begin with its token `begin`.
  struct Piece {
    size_t index;
    int64_t begin, count, row;
  };

  InferenceWeights w;
  InferenceOptions options;
  Ops& ops;
  Activations x;
  std::unique_ptr<Buffer> memory;
  KvCache cache;
  std::vector<int32_t> tokens, sequences, positions;  // of the rows that are computed next
  std::vector<Piece> filled;                          // and what they hold
  std::vector<int32_t> target_ids;
  std::vector<float*> loss_places;
  std::vector<float> loss_values;

  Impl(InferenceWeights weights, const InferenceOptions& o, Ops& device)
      : w(std::move(weights)),
        options(o),
        ops(device),
        cache(w.config, options.context, options.sequences, options.pages, device) {}

  void check_ids(std::span<const int32_t> ids) const;
  void extend(std::span<const Tokens> batch);
  template <class Done>
  void run(std::span<const Tokens> batch, const Done& done);
  void add_rows(const Tokens& from, int64_t begin, int64_t count, int64_t position);
  void linear(const Linear& l, const Tensor& in, const Tensor& out, bool gelu = false);
  Tensor forward_rows();
  void gather(const Scored& scored, const Tensor& ln, const Piece& piece);
  void score(std::span<const Scored> batch, const Tensor& ln, std::span<const Piece> pieces);
};

void Gpt2Inference::Impl::check_ids(std::span<const int32_t> ids) const {
  check(!ids.empty(), "no tokens given; at least one is needed");
  for (size_t i = 0; i < ids.size(); ++i) {
    check(ids[i] >= 0 && ids[i] < w.config.vocab, "token {} at position {} is outside the vocabulary of {}", ids[i], i,
          w.config.vocab);
  }
}

// Makes room in the cache for all or, with an Error, for none.
void Gpt2Inference::Impl::extend(std::span<const Tokens> batch) {
  for (const Tokens& t : batch) check_ids(t.ids);
  for (size_t i = 0; i < batch.size(); ++i) {
    try {
      cache.extend(batch[i].sequence, static_cast<int64_t>(batch[i].ids.size()));
    } catch (const Error&) {
      for (const Tokens& done : batch.first(i)) {
        cache.truncate(done.sequence, cache.length(done.sequence) - static_cast<int64_t>(done.ids.size()));
      }
      throw;
    }
  }
}

// Computes the tokens of sequences that have been extended, as many at a time as there are rows. done(ln, pieces) gets
// the last layer norm's output and what its rows are.
template <class Done>
void Gpt2Inference::Impl::run(std::span<const Tokens> batch, const Done& done) {
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto size = static_cast<int64_t>(batch[i].ids.size());
    const int64_t start = cache.length(batch[i].sequence) - size;
    for (int64_t begin = 0; begin < size;) {
      const auto row = static_cast<int64_t>(tokens.size());
      const int64_t count = std::min(options.rows - row, size - begin);
      add_rows(batch[i], begin, count, start + begin);
      filled.push_back({i, begin, count, row});
      begin += count;
      const bool last = begin == size && i + 1 == batch.size();
      if (row + count < options.rows && !last) continue;
      done(forward_rows(), std::span<const Piece>(filled));
      filled.clear();
    }
  }
}

void Gpt2Inference::Impl::add_rows(const Tokens& from, int64_t begin, int64_t count, int64_t position) {
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(from.ids[static_cast<size_t>(begin + i)]);
    sequences.push_back(from.sequence);
    positions.push_back(static_cast<int32_t>(position + i));
  }
}

void Gpt2Inference::Impl::linear(const Linear& l, const Tensor& in, const Tensor& out, bool gelu) {
  ops.gemm({.a = in, .b = l.weight, .bias = l.bias, .out = out, .gelu_in = gelu ? out : Tensor(), .trans_b = l.trans});
}

// From the rows' tokens to the last layer norm, whose output it returns; keys and values go into the cache.
Tensor Gpt2Inference::Impl::forward_rows() {
  const auto R = static_cast<int64_t>(tokens.size());
  assert(R >= 1 && R <= options.rows);
  const Tensor ids = first(x.tokens, R), sequence = first(x.sequences, R), position = first(x.positions, R);
  ops.upload(ids, tokens.data());
  ops.upload(sequence, sequences.data());
  ops.upload(position, positions.data());
  const Tensor &table = cache.table(), mean = first(x.mean, R), rstd = first(x.rstd, R);
  const Tensor residual = first(x.residual, R), ln = first(x.ln, R), qkv = first(x.qkv, R), att = first(x.att, R);
  const Tensor hidden = first(x.hidden, R), branch_out = first(x.branch, R);
  Tensor branch;  // what is to be added to the residual stream: nothing yet

  const auto add_layernorm = [&](const Tensor& weight, const Tensor& bias) {
    ops.add_layernorm({.in = branch,
                       .residual = residual,
                       .weight = weight,
                       .bias = bias,
                       .sum = residual,
                       .out = ln,
                       .mean = mean,
                       .rstd = rstd,
                       .eps = w.config.eps});
    branch = branch_out;
  };
  ops.embed({.out = Tensor(residual.data, DType::f32, {1, R, w.config.channels}),
             .tokens = ids,
             .wte = w.wte,
             .wpe = w.wpe,
             .positions = position});
  for (size_t l = 0; l < w.blocks.size(); ++l) {
    const InferenceWeights::Block& p = w.blocks[l];
    add_layernorm(p.ln1, p.ln1_bias);
    linear(p.qkv, ln, qkv);
    ops.cached_attention({.qkv = qkv,
                          .out = att,
                          .k_pages = cache.k(static_cast<int64_t>(l)),
                          .v_pages = cache.v(static_cast<int64_t>(l)),
                          .sequences = sequence,
                          .positions = position,
                          .table = table,
                          .heads = static_cast<int>(w.config.heads)});
    linear(p.att_proj, att, branch);
    add_layernorm(p.ln2, p.ln2_bias);
    linear(p.fc, ln, hidden, true);
    linear(p.fc_proj, hidden, branch);
  }
  add_layernorm(w.lnf, w.lnf_bias);
  tokens.clear();
  sequences.clear();
  positions.clear();
  return ln;
}

// Puts those rows of a piece whose loss is wanted behind the ones gathered before, in x.branch, which is free by then.
void Gpt2Inference::Impl::gather(const Scored& scored, const Tensor& ln, const Piece& piece) {
  for (int64_t i = 0; i < piece.count;) {
    const auto gathered = static_cast<int64_t>(target_ids.size());
    int64_t end = i;
    for (; end < piece.count; ++end) {
      const auto at = static_cast<size_t>(piece.begin + end);
      if (scored.targets[at] < 0) break;
      target_ids.push_back(scored.targets[at]);
      loss_places.push_back(&scored.losses[at]);
    }
    if (end > i) ops.copy(x.branch.slice_rows(gathered, end - i), ln.slice_rows(piece.row + i, end - i));
    if (end < piece.count) scored.losses[static_cast<size_t>(piece.begin + end)] = 0;
    i = end + 1;
  }
}

void Gpt2Inference::Impl::score(std::span<const Scored> batch, const Tensor& ln, std::span<const Piece> pieces) {
  target_ids.clear();
  loss_places.clear();
  for (const Piece& piece : pieces) gather(batch[piece.index], ln, piece);
  const auto n = static_cast<int64_t>(target_ids.size());
  if (n == 0) return;
  ops.upload(first(x.targets, n), target_ids.data());
  ops.classifier({.x = first(x.branch, n),
                  .weight = w.head,
                  .targets = first(x.targets, n),
                  .losses = first(x.losses, n),
                  .logits = first(x.logits, std::min(n, x.logits.rows())),
                  .vocab = w.config.vocab});
  loss_values.resize(target_ids.size());
  ops.download(loss_values.data(), first(x.losses, n));
  for (size_t i = 0; i < loss_values.size(); ++i) *loss_places[i] = loss_values[i];
}

Gpt2Inference::Gpt2Inference(InferenceWeights weights, const InferenceOptions& options, Ops& ops) {
  const Gpt2Config config = weights.config;
  const InferenceOptions resolved = resolve(options, config);
  const size_t needed = bytes(config, resolved), available = ops.memory();
  check(needed <= available, "inference needs {} beside the weights, but the {} device has {}; use a smaller context",
        human_bytes(needed), ops.name(), human_bytes(available));
  impl_ = std::make_unique<Impl>(std::move(weights), resolved, ops);
  Plan plan;
  plan_activations(plan, impl_->x, config, resolved);
  impl_->memory = ops.allocate(plan.bytes());
  plan.bind(impl_->memory->data());
  for (std::vector<int32_t>* ids : {&impl_->tokens, &impl_->sequences, &impl_->positions, &impl_->target_ids}) {
    ids->reserve(static_cast<size_t>(resolved.rows));
  }
  impl_->filled.reserve(static_cast<size_t>(resolved.sequences));
}

Gpt2Inference::~Gpt2Inference() = default;

const Gpt2Config& Gpt2Inference::config() const { return impl_->w.config; }
const InferenceOptions& Gpt2Inference::options() const { return impl_->options; }
const InferenceWeights& Gpt2Inference::weights() const { return impl_->w; }
Ops& Gpt2Inference::ops() const { return impl_->ops; }
KvCache& Gpt2Inference::cache() { return impl_->cache; }

size_t Gpt2Inference::bytes(const Gpt2Config& config, const InferenceOptions& options) {
  const InferenceOptions o = resolve(options, config);
  Plan plan;
  Activations x;
  plan_activations(plan, x, config, o);
  return plan.bytes() + KvCache::bytes(config, o.context, o.sequences, o.pages);
}

void Gpt2Inference::forward(std::span<const Tokens> batch, std::span<float> logits) {
  Impl& m = *impl_;
  const auto count = static_cast<int64_t>(batch.size());
  assert(count >= 1 && count <= m.options.sequences);
  assert(static_cast<int64_t>(logits.size()) == count * config().vocab);
  m.extend(batch);
  m.run(batch, [&](const Tensor& ln, std::span<const Impl::Piece> pieces) {
    for (const Impl::Piece& piece : pieces) {
      if (piece.begin + piece.count < static_cast<int64_t>(batch[piece.index].ids.size())) continue;
      m.ops.copy(m.x.last.slice_rows(static_cast<int64_t>(piece.index), 1),
                 ln.slice_rows(piece.row + piece.count - 1, 1));
    }
  });
  const Tensor out = m.x.logits.slice_rows(0, count);
  m.ops.gemm({.a = m.x.last.slice_rows(0, count), .b = m.w.head, .out = out, .trans_b = true});
  m.ops.download(logits.data(), out);
}

void Gpt2Inference::losses(std::span<const Scored> batch) {
  Impl& m = *impl_;
  std::vector<Tokens> tokens;
  for (const Scored& s : batch) {
    assert(s.targets.size() == s.tokens.ids.size() && s.losses.size() == s.targets.size());
    for (const int32_t target : s.targets) {
      check(target < config().vocab, "target {} is outside the vocabulary of {}", target, config().vocab);
    }
    tokens.push_back(s.tokens);
  }
  m.extend(tokens);
  m.run(tokens, [&](const Tensor& ln, std::span<const Impl::Piece> pieces) { m.score(batch, ln, pieces); });
}

}  // namespace ink
