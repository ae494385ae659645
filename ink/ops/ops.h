// The mathematics of the model, as about twenty operations over tensors. Each backend implements Ops; the formulas here
// are the contract, `ink/ref` is the plain-loops specification, and every other backend is tested against it.
//
// B batch, T time (context), C channels, V vocabulary, Vp padded vocabulary, NH heads, HS = C / NH, N = B·T rows.
// Gradients of parameters are added to (+=), or written where `accumulate` is false; gradients of activations are
// overwritten (=), except where a comment says so. Reductions never depend on the number of threads: the same inputs
// give the same bits on one device. Tensors are f32 unless a comment says otherwise, and must not overlap unless it
// says they may. Arguments that do not fit each other are programmer errors (assert).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ink/tensor/tensor.h"

namespace ink {

// out(B,T,C) = wte(Vp,C)[tokens] + wpe(maxT,C)[0..T). tokens (B,T) i32, each in [0, Vp). wte may be of any of the types
// of weights below. With positions (B,T) i32, each in [0, maxT), out = wte[tokens] + wpe[positions].
struct Embed {
  Tensor out, tokens, wte, wpe, positions;
};
// dwte[tokens[b,t]] += dout[b,t];  dwpe[t] += Σ_b dout[b,t].
struct EmbedBackward {
  Tensor dwte, dwpe, dout, tokens;
};

// sum = in + residual;  out = (sum - mean) · rstd · weight + bias over each row of C.
// mean, rstd (N) are saved for the backward pass; rstd = 1 / sqrt(var + eps). in may be empty: then sum is residual,
// and the sum tensor may be empty or alias residual. sum may alias residual or in.
struct AddLayerNorm {
  Tensor in, residual, weight, bias, sum, out, mean, rstd;
  float eps = 1e-5f;
};
// With x̂ = (sum - mean) · rstd and g = dout · weight, each row:
//   dsum = dresidual + rstd · (g - mean(g) - x̂ · mean(g · x̂));  dweight += Σ_rows dout · x̂;  dbias += Σ_rows dout.
// dresidual (N,C) is the gradient that reaches sum along the residual stream: it may be dsum, or empty for none.
//   out = x̂ · weight + bias, what the forward pass gave and did not keep; it may be dout. out and bias may be empty.
struct AddLayerNormBackward {
  Tensor dsum, dweight, dbias, out, dresidual, dout, sum, weight, bias, mean, rstd;
};

// out(M,N) = epilogue(op(a) · op(b) + bias), op transposing where the flag says. With accumulate, out += that.
//   forward          out(N,OC)  = x(N,C) · w(OC,C)ᵀ        a = x,    b = w, trans_b
//   gradient of x    dx(N,C)    = dout(N,OC) · w(OC,C)     a = dout, b = w
//   gradient of w    dw(OC,C)   = doutᵀ(OC,N) · x(N,C)     a = dout, b = x, trans_a; += with accumulate
// Epilogues (at most one of gelu_in, dgelu_in; neither with accumulate):
//   gelu_in (M,N): is written with op(a)·op(b) + bias, and out = gelu(gelu_in)
//   dgelu_in (M,N): out = (op(a)·op(b)) · gelu'(dgelu_in); out may alias nothing:
//     it can hold a part of a sum while dgelu_in is still to be read
//   dbias (M), with trans_a: dbias += Σ_k a[k, m], the gradient of a bias from the same dout
// No dimension is 0.
//
// Weights of inference: without trans_a, accumulate, dgelu_in and dbias, b may be f16 or bf16, whose elements are
// widened, or, with trans_b and K a multiple of 32, q8_0 or q4_0. Then each row of a is first rounded to blocks of 32
// along k as well, d = max|a| / 127 (f32) and q = a · (1 / d) to the nearest integer, ties to even (0 where d is 0, or
// d is so small that 1 / d is infinite), and blocks are summed one after another, from 0:
//   sum = fma(float(Σ_k q_a · q_b), d_a · float(d_b), sum).
// In all products without trans_a and accumulate, gelu_in may be out, and a row of out depends on the same row of a
// alone: its bits are the same however many rows there are, but for products by a matrix library (cpu-NAME: those of
// f32; accelerate, cuda, metal: all but those of blocks).
struct Gemm {
  Tensor a, b, bias, out, gelu_in, dgelu_in, dbias;
  bool trans_a = false;
  bool trans_b = false;
  bool accumulate = false;
};

// out = gelu(in), the tanh form: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), for what gemm fused and nobody kept. out
// may be in.
struct Gelu {
  Tensor out, in;
};

// Causal self-attention over heads. A NaN or infinity of a position may reach earlier ones of its sequence: what they
// multiply with 0 is not always left out. qkv (B,T,3C) holds q, k, v one after another in each row, each NH heads of
// HS.
//   out[b,t,h] = Σ_{u≤t} softmax_u(q[b,t,h]·k[b,u,h] / √HS) · v[b,u,h]
//   lse (B,NH,T): log Σ_u exp(score), saved for the backward pass.
struct Attention {
  Tensor qkv, out, lse;  // (B,T,3C), (B,T,C), (B,NH,T)
  int heads = 1;
};
// Attention of new positions to those their sequences have in a key-value cache, and to each other (Kwon et al. 2023):
// the cache is a pool of pages of kPagePositions positions each, and a table says which page holds which positions of a
// sequence. Row r of qkv (R,3C) is the position positions[r] of the sequence sequences[r]; the rows of one sequence
// come in the order of their positions. First k and v of every row are written to the cache; then, over all positions
// of the row's sequence up to its own,
//   out[r,h] = Σ_u softmax_u(q[r,h]·k[u,h] / √HS) · v[u,h].
// The bits of a row depend on q and the cached positions alone, not on the rows that are computed with it, as long as
// these are finite: a NaN or infinity of a position may reach earlier rows of its sequence, as in Attention.
struct CachedAttention {
  Tensor qkv, out;              // (R,3C), (R,C)
  Tensor k_pages, v_pages;      // (pages,NH,HS,kPagePositions), (pages,NH,kPagePositions,HS)
  Tensor sequences, positions;  // (R) i32: rows of the table; positions in [0, table.cols() · kPagePositions)
  Tensor table;                 // (sequences, pages of the longest) i32: the page of each kPagePositions positions
  int heads = 1;
};
inline constexpr int64_t kPagePositions = 32;

// dqkv (B,T,3C) = the gradients of q, k, v. delta (B,NH,T) is scratch: Σ_c dout · out.
struct AttentionBackward {
  Tensor dqkv, dout, qkv, out, lse, delta;
  int heads = 1;
};

// logits(N,Vp) = x(N,C) · weight(Vp,C)ᵀ in chunks of rows: the whole matrix never exists.
//   losses[n] = log Σ_{v<vocab} exp(logits[n,v]) - logits[n,targets[n]]
// and, unless dx is empty, with p = softmax over v < vocab (0 in the padding):
//   dlogits = (p - onehot(target)) · dloss;  dx = dlogits · weight;  dweight = dlogitsᵀ · x.
// With accumulate, dweight += that. Without dx, weight may be of any of the types of weights (see Gemm).
// targets (N) i32 in [0, vocab). logits is scratch: (rows of a chunk, Vp), at least one row.
struct Classifier {
  Tensor x, weight, targets, losses, dx, dweight, logits;
  int64_t vocab = 0;
  float dloss = 1;
  bool accumulate = false;
};

// One AdamW step over a contiguous range (Loshchilov, Hutter 2019), with g = grad · grad_scale and step counted from 1:
//   m = β1·m + (1-β1)·g;  v = β2·v + (1-β2)·g²
//   param -= lr · ( (m / (1-β1^step)) / (√(v / (1-β2^step)) + eps) + weight_decay · param )
struct AdamW {
  Tensor param, grad, m, v;
  float lr = 0, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f, weight_decay = 0, grad_scale = 1;
  int64_t step = 1;
};

// One SGD step with momentum, as torch.optim.SGD (dampening 0, not Nesterov), with g = grad · grad_scale:
//   d = g + weight_decay · param;  m = momentum · m + d;  param -= lr · m.  m starts at zero.
struct Sgd {
  Tensor param, grad, m;
  float lr = 0, momentum = 0, weight_decay = 0, grad_scale = 1;
};

// out = in, rounded to out's type where that is bf16: to the nearest, ties to even; or, with a seed that is not 0, up
// or down at random, with the probability that makes the mean right, by a hash of the seed and the element's index. out
// is f32 or bf16, in f32.
struct Cast {
  Tensor out, in;
  uint32_t seed = 0;
};

// A block of device memory, freed with its owner.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual std::byte* data() = 0;  // an address of the device, aligned to a page, zeroed
  virtual size_t size() const = 0;
};

// Bytes a second between the processor and its memory, far beyond the caches.
struct Bandwidth {
  double read = 0;    // of one array
  double update = 0;  // of a pass like AdamW's: four arrays read, three of them written, 28 bytes an element
  double best() const { return read > update ? read : update; }
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual std::string name() const = 0;         // "cpu"
  virtual std::string description() const = 0;  // one line for `ink info`: instruction set, matrix library, threads

  // The most FLOP/s the device does, measured when first asked (some tens of milliseconds); 0 where it is not known.
  virtual double peak_flops() { return 0; }
  // The memory's speed, measured when first asked (a second at most, for memory that is freed again); 0 where not
  // known.
  virtual Bandwidth peak_bandwidth() { return {}; }

  // What gemm and classifier round their inputs to before they multiply them: f32 (nothing) or bf16, to the nearest,
  // ties to even. Sums are f32. Instructions for bf16 may take subnormal numbers for 0.
  virtual DType products() const { return DType::f32; }

  // What activations, their gradients and the weights in products are stored as in training: f32, or bf16 on devices
  // that then compute from weights that cast() has made from the f32 ones. All else stays f32.
  virtual DType storage() const { return DType::f32; }

  // Whether tensors may point to any memory of the host, a mapped file's too.
  virtual bool reads_host_memory() const { return false; }

  // Memory. allocate throws Error when the device cannot give it; upload and download copy from and to the host.
  virtual std::unique_ptr<Buffer> allocate(size_t bytes) = 0;
  virtual size_t memory() const = 0;  // bytes the device has in all
  // Memory of the host as a buffer that the device reads in place: whole pages (page_size() of ink/base/system.h) of
  // one mapped file, which nothing writes to. owner keeps them for as long as the device may read. Null where the
  // device has no such thing, or no room for so much.
  virtual std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) {
    (void)pages, (void)owner;
    return nullptr;
  }
  virtual void upload(const Tensor& to, const void* from) = 0;
  virtual void download(void* to, const Tensor& from) = 0;
  virtual void copy(const Tensor& to, const Tensor& from) = 0;  // same dtype and element count
  virtual void fill(const Tensor& t, float value) = 0;

  virtual void embed(const Embed& a) = 0;
  virtual void embed_backward(const EmbedBackward& a) = 0;
  virtual void add_layernorm(const AddLayerNorm& a) = 0;
  virtual void add_layernorm_backward(const AddLayerNormBackward& a) = 0;
  virtual void gemm(const Gemm& a) = 0;
  virtual void gelu(const Gelu& a) = 0;
  virtual void attention(const Attention& a) = 0;
  virtual void attention_backward(const AttentionBackward& a) = 0;
  virtual void cached_attention(const CachedAttention& a) = 0;
  virtual void classifier(const Classifier& a) = 0;
  virtual void adamw(const AdamW& a) = 0;
  virtual void sgd(const Sgd& a) = 0;
  virtual void cast(const Cast& a) = 0;

  // Σ x² in double, summed in an order that depends on numel alone; on GPUs squares and parts of the sum are float, and
  // overflow where |x| > 1.8e19. Not finite if any element is not.
  virtual double sum_squares(const Tensor& x) = 0;
  // False if any element is NaN or infinite.
  virtual bool all_finite(const Tensor& x) = 0;

  // Until all that was asked for is done. Only who measures time needs it: download and the two above wait by
  // themselves.
  virtual void wait() {}
};

}  // namespace ink
