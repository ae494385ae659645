// The "ref" device: ops.h in plain loops on one thread. Slow and obvious; the oracle of every other backend.
#pragma once

#include "ink/ops/host_ops.h"

namespace ink {

class RefOps final : public HostOps {
 public:
  // products: f32, or bf16 to round what gemm and classifier multiply.
  explicit RefOps(DType products) : products_(products) {}
  std::string name() const override { return "ref"; }
  std::string description() const override {
    return products_ == DType::bf16 ? "plain loops, bf16 products, 1 thread: the specification, slow"
                                    : "plain loops, 1 thread: the specification, slow";
  }

  DType products() const override { return products_; }

  void embed(const Embed& a) override;
  void embed_backward(const EmbedBackward& a) override;
  void add_layernorm(const AddLayerNorm& a) override;
  void add_layernorm_backward(const AddLayerNormBackward& a) override;
  void gemm(const Gemm& a) override;
  void gelu(const Gelu& a) override;
  void attention(const Attention& a) override;
  void attention_backward(const AttentionBackward& a) override;
  void cached_attention(const CachedAttention& a) override;
  void classifier(const Classifier& a) override;
  void adamw(const AdamW& a) override;
  void sgd(const Sgd& a) override;
  double sum_squares(const Tensor& x) override;
  bool all_finite(const Tensor& x) override;

 private:
  DType products_;
};

}  // namespace ink
