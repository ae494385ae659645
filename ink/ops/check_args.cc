#include "ink/ops/check_args.h"

namespace ink {

namespace {

bool is_f32(const Tensor& t, int64_t rows, int64_t cols) {
  return t.data != nullptr && t.dtype == DType::f32 && t.numel() == rows * cols && (cols == 0 || t.cols() == cols);
}

bool is_f32(const Tensor& t, int64_t numel) { return t.data != nullptr && t.dtype == DType::f32 && t.numel() == numel; }

// Weights of any type, in whole blocks.
bool is_weights(const Tensor& t, int64_t rows, int64_t cols) {
  return t.data != nullptr && t.dtype != DType::i32 && t.numel() == rows * cols && t.cols() == cols &&
         cols % block_of(t.dtype) == 0;
}

// Indices (numel) in [0, end). Reading them all costs nothing beside the operation itself, and this runs in debug
// builds only.
bool is_ids(const Tensor& t, int64_t numel, int64_t end) {
  if (t.data == nullptr || t.dtype != DType::i32 || t.numel() != numel) return false;
  for (const int32_t id : t.span<int32_t>()) {
    if (id < 0 || id >= end) return false;
  }
  return true;
}

bool is_empty_or_f32(const Tensor& t, int64_t rows, int64_t cols) { return !t || is_f32(t, rows, cols); }

bool is_attention(const Tensor& qkv, const Tensor& out, const Tensor& lse, int heads) {
  if (heads < 1 || out.shape.rank() != 3 || out.cols() % heads != 0) return false;
  const int64_t batch = out.shape[0], time = out.shape[1], channels = out.shape[2];
  return is_f32(out, batch * time, channels) && is_f32(qkv, batch * time, 3 * channels) &&
         is_f32(lse, batch * heads * time);
}

}  // namespace

bool fits(const Embed& a) {
  if (a.out.shape.rank() != 3) return false;
  const int64_t batch = a.out.shape[0], time = a.out.shape[1], channels = a.out.shape[2];
  return is_f32(a.out, batch * time, channels) && is_weights(a.wte, a.wte.rows(), channels) &&
         is_f32(a.wpe, a.wpe.rows(), channels) && is_ids(a.tokens, batch * time, a.wte.rows()) &&
         (a.positions ? is_ids(a.positions, batch * time, a.wpe.rows()) : a.wpe.rows() >= time);
}

bool fits(const EmbedBackward& a) {
  return a.dwte.dtype == DType::f32 && fits(Embed{.out = a.dout, .tokens = a.tokens, .wte = a.dwte, .wpe = a.dwpe});
}

bool fits(const AddLayerNorm& a) {
  const int64_t rows = a.out.rows(), cols = a.out.cols();
  return is_f32(a.residual, rows, cols) && is_f32(a.out, rows, cols) && is_empty_or_f32(a.in, rows, cols) &&
         is_empty_or_f32(a.sum, rows, cols) && (a.sum || !a.in) && is_f32(a.weight, cols) && is_f32(a.bias, cols) &&
         is_f32(a.mean, rows) && is_f32(a.rstd, rows);
}

bool fits(const AddLayerNormBackward& a) {
  const int64_t rows = a.dsum.rows(), cols = a.dsum.cols();
  return is_f32(a.dsum, rows, cols) && is_empty_or_f32(a.dresidual, rows, cols) && is_empty_or_f32(a.out, rows, cols) &&
         (!a.out || is_f32(a.bias, cols)) && is_f32(a.dout, rows, cols) && is_f32(a.sum, rows, cols) &&
         is_f32(a.weight, cols) && is_f32(a.dweight, cols) && is_f32(a.dbias, cols) && is_f32(a.mean, rows) &&
         is_f32(a.rstd, rows);
}

bool fits(const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const bool inference = !a.trans_a && !a.accumulate && !a.dgelu_in && !a.dbias;
  const bool types = a.b.dtype == DType::f32 || (inference && (block_of(a.b.dtype) == 1 || a.trans_b));
  const bool shapes = is_f32(a.a, a.a.rows(), a.a.cols()) && is_weights(a.b, a.b.rows(), a.b.cols()) &&
                      (a.trans_b ? a.b.cols() : a.b.rows()) == k && is_f32(a.out, m, n) &&
                      (!a.bias || is_f32(a.bias, n)) && is_empty_or_f32(a.gelu_in, m, n) &&
                      is_empty_or_f32(a.dgelu_in, m, n) && (!a.dbias || is_f32(a.dbias, m));
  const bool epilogue = !(a.gelu_in && a.dgelu_in) && !(a.accumulate && (a.gelu_in || a.dgelu_in)) &&
                        !(a.dgelu_in && a.bias) && (!a.dbias || a.trans_a);
  return m > 0 && n > 0 && k > 0 && types && shapes && epilogue;
}

bool fits(const Gelu& a) { return is_f32(a.in, a.in.numel()) && is_f32(a.out, a.in.numel()); }

bool fits(const Attention& a) { return is_attention(a.qkv, a.out, a.lse, a.heads); }

bool fits(const AttentionBackward& a) {
  return is_attention(a.qkv, a.out, a.lse, a.heads) && is_attention(a.dqkv, a.dout, a.delta, a.heads) &&
         a.out.shape == a.dout.shape;
}

bool fits(const CachedAttention& a) {
  const int64_t rows = a.out.rows(), channels = a.out.cols();
  if (a.heads < 1 || channels % a.heads != 0 || a.k_pages.shape.rank() != 4) return false;
  const int64_t pages = a.k_pages.shape[0], size = channels / a.heads;
  return is_f32(a.out, rows, channels) && is_f32(a.qkv, rows, 3 * channels) &&
         a.k_pages.shape == Shape{pages, a.heads, size, kPagePositions} &&
         a.v_pages.shape == Shape{pages, a.heads, kPagePositions, size} && is_f32(a.k_pages, a.k_pages.numel()) &&
         is_f32(a.v_pages, a.v_pages.numel()) && is_ids(a.sequences, rows, a.table.rows()) &&
         is_ids(a.positions, rows, a.table.cols() * kPagePositions) && is_ids(a.table, a.table.numel(), pages);
}

bool fits(const Classifier& a) {
  const int64_t rows = a.x.rows(), channels = a.x.cols(), padded = a.weight.rows();
  return is_f32(a.x, rows, channels) && is_weights(a.weight, padded, channels) &&
         (a.weight.dtype == DType::f32 || !a.dx) && a.vocab >= 1 && a.vocab <= padded &&
         is_ids(a.targets, rows, a.vocab) && is_f32(a.losses, rows) && is_f32(a.logits, a.logits.rows(), padded) &&
         a.logits.rows() >= 1 && static_cast<bool>(a.dx) == static_cast<bool>(a.dweight) &&
         is_empty_or_f32(a.dx, rows, channels) && is_empty_or_f32(a.dweight, padded, channels);
}

bool fits(const AdamW& a) {
  const int64_t n = a.param.numel();
  return is_f32(a.param, n) && is_f32(a.grad, n) && is_f32(a.m, n) && is_f32(a.v, n) && a.step >= 1;
}

bool fits(const Sgd& a) {
  const int64_t n = a.param.numel();
  return is_f32(a.param, n) && is_f32(a.grad, n) && is_f32(a.m, n);
}

}  // namespace ink
