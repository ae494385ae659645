#include "ink/ops/check_args.h"

namespace ink {

namespace {

bool is_of(DType dtype, const Tensor& t, int64_t rows, int64_t cols) {
  return t.data != nullptr && t.dtype == dtype && t.numel() == rows * cols && (cols == 0 || t.cols() == cols);
}
bool is_of(DType dtype, const Tensor& t, int64_t numel) {
  return t.data != nullptr && t.dtype == dtype && t.numel() == numel;
}

bool is_f32(const Tensor& t, int64_t rows, int64_t cols) { return is_of(DType::f32, t, rows, cols); }
bool is_f32(const Tensor& t, int64_t numel) { return is_of(DType::f32, t, numel); }

bool is_real(const Storage& s, const Tensor& t, int64_t rows, int64_t cols) {
  return (s.real == DType::f32 || s.real == DType::bf16) && is_of(s.real, t, rows, cols);
}
bool is_real(const Storage& s, const Tensor& t, int64_t numel) {
  return (s.real == DType::f32 || s.real == DType::bf16) && is_of(s.real, t, numel);
}

// Weights of any type, in whole blocks.
bool is_weights(const Tensor& t, int64_t rows, int64_t cols) {
  return t.data != nullptr && t.dtype != DType::i32 && t.numel() == rows * cols && t.cols() == cols &&
         cols % block_of(t.dtype) == 0;
}

// Indices (numel) in [0, end), as far as the host can tell. Reading them all costs nothing beside the operation itself,
// and this runs in debug builds only.
bool is_ids(const Storage& s, const Tensor& t, int64_t numel, int64_t end) {
  if (t.data == nullptr || t.dtype != DType::i32 || t.numel() != numel) return false;
  if (!s.readable) return true;
  for (const int32_t id : t.span<int32_t>()) {
    if (id < 0 || id >= end) return false;
  }
  return true;
}

bool is_empty_or_real(const Storage& s, const Tensor& t, int64_t rows, int64_t cols) {
  return !t || is_real(s, t, rows, cols);
}

bool is_attention(const Storage& s, const Tensor& qkv, const Tensor& out, const Tensor& lse, int heads) {
  if (heads < 1 || out.shape.rank() != 3 || out.cols() % heads != 0) return false;
  const int64_t batch = out.shape[0], time = out.shape[1], channels = out.shape[2];
  return is_real(s, out, batch * time, channels) && is_real(s, qkv, batch * time, 3 * channels) &&
         is_f32(lse, batch * heads * time);
}

}  // namespace

bool fits(const Embed& a, const Storage& s) {
  if (a.out.shape.rank() != 3) return false;
  const int64_t batch = a.out.shape[0], time = a.out.shape[1], channels = a.out.shape[2];
  return is_real(s, a.out, batch * time, channels) && is_weights(a.wte, a.wte.rows(), channels) &&
         is_real(s, a.wpe, a.wpe.rows(), channels) && is_ids(s, a.tokens, batch * time, a.wte.rows()) &&
         (a.positions ? is_ids(s, a.positions, batch * time, a.wpe.rows()) : a.wpe.rows() >= time);
}

bool fits(const EmbedBackward& a, const Storage& s) {
  if (a.dout.shape.rank() != 3) return false;
  const int64_t batch = a.dout.shape[0], time = a.dout.shape[1], channels = a.dout.shape[2];
  return is_real(s, a.dout, batch * time, channels) && is_f32(a.dwte, a.dwte.rows(), channels) &&
         is_f32(a.dwpe, a.dwpe.rows(), channels) && a.dwpe.rows() >= time &&
         is_ids(s, a.tokens, batch * time, a.dwte.rows());
}

bool fits(const AddLayerNorm& a, const Storage& s) {
  const int64_t rows = a.out.rows(), cols = a.out.cols();
  return is_real(s, a.residual, rows, cols) && is_real(s, a.out, rows, cols) && is_empty_or_real(s, a.in, rows, cols) &&
         is_empty_or_real(s, a.sum, rows, cols) && (a.sum || !a.in) && is_real(s, a.weight, cols) &&
         is_real(s, a.bias, cols) && is_f32(a.mean, rows) && is_f32(a.rstd, rows);
}

bool fits(const AddLayerNormBackward& a, const Storage& s) {
  const int64_t rows = a.dsum.rows(), cols = a.dsum.cols();
  return is_real(s, a.dsum, rows, cols) && is_empty_or_real(s, a.dresidual, rows, cols) &&
         is_empty_or_real(s, a.out, rows, cols) && (!a.out || is_real(s, a.bias, cols)) &&
         is_real(s, a.dout, rows, cols) && is_real(s, a.sum, rows, cols) && is_real(s, a.weight, cols) &&
         is_f32(a.dweight, cols) && is_f32(a.dbias, cols) && is_f32(a.mean, rows) && is_f32(a.rstd, rows);
}

bool fits(const Gemm& a, const Storage& s) {
  const auto [m, n, k] = dims_of(a);
  const bool inference = !a.trans_a && !a.accumulate && !a.dgelu_in && !a.dbias;
  const bool types =
      a.b.dtype == s.real || (inference && a.b.dtype != DType::f32 && (block_of(a.b.dtype) == 1 || a.trans_b));
  const bool shapes = is_real(s, a.a, a.a.rows(), a.a.cols()) && is_weights(a.b, a.b.rows(), a.b.cols()) &&
                      (a.trans_b ? a.b.cols() : a.b.rows()) == k &&
                      (a.trans_a ? is_f32(a.out, m, n) : is_real(s, a.out, m, n)) &&
                      (!a.bias || is_real(s, a.bias, n)) && is_empty_or_real(s, a.gelu_in, m, n) &&
                      is_empty_or_real(s, a.dgelu_in, m, n) && (!a.dbias || is_f32(a.dbias, m));
  const bool epilogue = !(a.gelu_in && a.dgelu_in) && !(a.accumulate && (a.gelu_in || a.dgelu_in)) &&
                        !(a.dgelu_in && a.bias) && (!a.dbias || a.trans_a);
  return m > 0 && n > 0 && k > 0 && types && shapes && epilogue;
}

bool fits(const Gelu& a, const Storage& s) { return is_real(s, a.in, a.in.numel()) && is_real(s, a.out, a.in.numel()); }

bool fits(const Attention& a, const Storage& s) { return is_attention(s, a.qkv, a.out, a.lse, a.heads); }

bool fits(const AttentionBackward& a, const Storage& s) {
  return is_attention(s, a.qkv, a.out, a.lse, a.heads) && is_attention(s, a.dqkv, a.dout, a.delta, a.heads) &&
         a.out.shape == a.dout.shape;
}

bool fits(const CachedAttention& a, const Storage& s) {
  const int64_t rows = a.out.rows(), channels = a.out.cols();
  if (a.heads < 1 || channels % a.heads != 0 || a.k_pages.shape.rank() != 4) return false;
  const int64_t pages = a.k_pages.shape[0], size = channels / a.heads;
  return is_real(s, a.out, rows, channels) && is_real(s, a.qkv, rows, 3 * channels) &&
         a.k_pages.shape == Shape{pages, a.heads, size, kPagePositions} &&
         a.v_pages.shape == Shape{pages, a.heads, kPagePositions, size} && is_f32(a.k_pages, a.k_pages.numel()) &&
         is_f32(a.v_pages, a.v_pages.numel()) && is_ids(s, a.sequences, rows, a.table.rows()) &&
         is_ids(s, a.positions, rows, a.table.cols() * kPagePositions) && is_ids(s, a.table, a.table.numel(), pages);
}

bool fits(const Classifier& a, const Storage& s) {
  const int64_t rows = a.x.rows(), channels = a.x.cols(), padded = a.weight.rows();
  return is_real(s, a.x, rows, channels) && is_weights(a.weight, padded, channels) &&
         (a.weight.dtype == s.real || !a.dx) && a.vocab >= 1 && a.vocab <= padded &&
         is_ids(s, a.targets, rows, a.vocab) && is_f32(a.losses, rows) &&
         is_real(s, a.logits, a.logits.rows(), padded) && a.logits.rows() >= 1 &&
         static_cast<bool>(a.dx) == static_cast<bool>(a.dweight) && is_empty_or_real(s, a.dx, rows, channels) &&
         (!a.dweight || is_f32(a.dweight, padded, channels));
}

bool fits(const AdamW& a) {
  const int64_t n = a.param.numel();
  return is_f32(a.param, n) && is_f32(a.grad, n) && is_f32(a.m, n) && is_f32(a.v, n) && a.step >= 1;
}

bool fits(const Sgd& a) {
  const int64_t n = a.param.numel();
  return is_f32(a.param, n) && is_f32(a.grad, n) && is_f32(a.m, n);
}

bool fits(const Cast& a) {
  return (a.out.dtype == DType::f32 || a.out.dtype == DType::bf16) && a.in.dtype == DType::f32 &&
         a.out.numel() == a.in.numel();
}

}  // namespace ink
