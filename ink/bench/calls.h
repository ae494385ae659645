// Operations as values: a call of Ops with its arguments, which can be kept, named, counted and made again.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ink/model/gpt2.h"
#include "ink/ops/ops.h"

namespace ink::bench {

// What ops.h has no struct for.
struct Fill {
  Tensor out;
  float value = 0;
};
struct Copy {
  Tensor out, in;
};
struct SumSquares {
  Tensor in;
};
struct AllFinite {
  Tensor in;
};

using Call =
    std::variant<Embed, EmbedBackward, AddLayerNorm, AddLayerNormBackward, Gemm, Gelu, Attention, AttentionBackward,
                 CachedAttention, Classifier, AdamW, Sgd, Cast, Fill, Copy, SumSquares, AllFinite>;

// Makes the call. Returns what the operation does: the sum, whether all are finite (0 or 1), otherwise 0.
double run(Ops& ops, const Call& call);

enum class Access : uint8_t {
  read,
  write,
  update,   // read and written
  scratch,  // of no concern to the caller: need not leave the cache
};

// One tensor of a call.
struct Operand {
  Tensor* tensor;  // within the call
  Access access;
  int64_t rows = -1;  // how many of its rows are touched; -1: all
};

// What the call computes with: the products of the device for those that multiply matrices; otherwise the type of its
// first tensor of real numbers.
DType dtype_of_call(const Call& call, DType products);

// The call's tensors that are not empty.
std::vector<Operand> operands(Call& call);

std::string_view op_name(const Call& call);  // "gemm", "add_layernorm_backward"
std::vector<std::string_view> op_names();    // of all operations, in ops.h's order

// The sizes of a call: "256x2304x768" (M x N x K of a product), "4x64, 12 heads of 64", "256x768".
std::string shape_of(const Call& call);

// Names the calls of a model by the parameters that they take: "qkv", "qkv dx", "qkv dw", "fc+gelu", "classifier+grad".
class CallNames {
 public:
  // The parameters of an allocated model. They must outlive the names, and not move.
  explicit CallNames(std::span<const Param> params) : params_(params) {}
  std::string operator()(const Call& call) const;

 private:
  std::string gemm_name(const Gemm& a) const;

  std::span<const Param> params_;
};

// An Ops that sees every operation as a Call before passing it on, or not. Everything else goes straight to the inner
// Ops, which must outlive it.
class CallOps : public Ops {
 public:
  explicit CallOps(Ops& inner) : inner_(inner) {}

  std::string name() const override { return inner_.name(); }
  std::string description() const override { return inner_.description(); }
  double peak_flops() override { return inner_.peak_flops(); }
  Bandwidth peak_bandwidth() override { return inner_.peak_bandwidth(); }
  DType products() const override { return inner_.products(); }
  DType storage() const override { return inner_.storage(); }
  bool reads_host_memory() const override { return inner_.reads_host_memory(); }

  std::unique_ptr<Buffer> allocate(size_t bytes) override { return inner_.allocate(bytes); }
  size_t memory() const override { return inner_.memory(); }
  std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) override {
    return inner_.wrap(pages, std::move(owner));
  }
  void upload(const Tensor& to, const void* from) override { inner_.upload(to, from); }
  void download(void* to, const Tensor& from) override { inner_.download(to, from); }

  void copy(const Tensor& to, const Tensor& from) override { on_call(Copy{.out = to, .in = from}); }
  void fill(const Tensor& t, float value) override { on_call(Fill{.out = t, .value = value}); }
  void embed(const Embed& a) override { on_call(a); }
  void embed_backward(const EmbedBackward& a) override { on_call(a); }
  void add_layernorm(const AddLayerNorm& a) override { on_call(a); }
  void add_layernorm_backward(const AddLayerNormBackward& a) override { on_call(a); }
  void gemm(const Gemm& a) override { on_call(a); }
  void gelu(const Gelu& a) override { on_call(a); }
  void attention(const Attention& a) override { on_call(a); }
  void attention_backward(const AttentionBackward& a) override { on_call(a); }
  void cached_attention(const CachedAttention& a) override { on_call(a); }
  void classifier(const Classifier& a) override { on_call(a); }
  void adamw(const AdamW& a) override { on_call(a); }
  void sgd(const Sgd& a) override { on_call(a); }
  void cast(const Cast& a) override { on_call(a); }
  double sum_squares(const Tensor& x) override { return on_call(SumSquares{.in = x}); }
  bool all_finite(const Tensor& x) override { return on_call(AllFinite{.in = x}) != 0; }
  void wait() override { inner_.wait(); }

 protected:
  virtual double on_call(const Call& call) = 0;  // returns what run() returns
  Ops& inner_;
};

}  // namespace ink::bench
