// Checks the arguments and hands them to the kernels, with the pool and the scratch memory they need.
#include "ink/accelerate/accelerate_ops.h"

#include <fmt/format.h>

#include <cassert>

#include "ink/accelerate/kernels.h"
#include "ink/cpu/cpu_ops.h"
#include "ink/cpu/kernels.h"
#include "ink/ops/check_args.h"
#include "ink/ops/host_ops.h"

namespace ink {

namespace {

class AccelerateOps final : public HostOps {
 public:
  AccelerateOps(ThreadPool& pool, DType products)
      : pool_(pool), cpu_(make_cpu_ops(pool, products)), slots_(pool.threads()) {
    products_.cpu = cpu_.get();
    products_.rounding = products;
    products_.bnns = accelerate::Bnns::probe();
  }

  std::string name() const override { return "accelerate"; }
  std::string description() const override {
    std::string parts = "Accelerate's BLAS, vDSP and vForce";
    const std::string bnns = products_.bnns.description();
    if (!bnns.empty()) parts += ", " + bnns;
    if (products() == DType::bf16) parts += ", bf16 products";
    return fmt::format("{}, {}, {} thread{} beside its own", cpu::instruction_set(), parts, pool_.threads(),
                       pool_.threads() == 1 ? "" : "s");
  }
  DType products() const override { return products_.rounding; }
  double peak_flops() override { return cpu_->peak_flops(); }
  Bandwidth peak_bandwidth() override { return cpu_->peak_bandwidth(); }

  void copy(const Tensor& to, const Tensor& from) override { cpu_->copy(to, from); }
  void fill(const Tensor& t, float value) override { cpu_->fill(t, value); }
  void embed(const Embed& a) override { cpu_->embed(a); }
  void embed_backward(const EmbedBackward& a) override { cpu_->embed_backward(a); }
  void attention(const Attention& a) override { cpu_->attention(a); }
  void attention_backward(const AttentionBackward& a) override { cpu_->attention_backward(a); }
  void cached_attention(const CachedAttention& a) override { cpu_->cached_attention(a); }
  double sum_squares(const Tensor& x) override { return cpu_->sum_squares(x); }
  bool all_finite(const Tensor& x) override { return cpu_->all_finite(x); }

  void add_layernorm(const AddLayerNorm& a) override {
    assert(fits(a));
    accelerate::add_layernorm(pool_, a);
  }
  void add_layernorm_backward(const AddLayerNormBackward& a) override {
    assert(fits(a));
    accelerate::add_layernorm_backward(pool_, scratch_, slots_, a);
  }
  void gemm(const Gemm& a) override {
    assert(fits(a));
    if (block_of(a.b.dtype) > 1) return cpu_->gemm(a);
    accelerate::gemm(pool_, products_, a);
  }
  void gelu(const Gelu& a) override {
    assert(fits(a));
    accelerate::gelu(pool_, products_.bnns, a);
  }
  void classifier(const Classifier& a) override {
    assert(fits(a));
    if (block_of(a.weight.dtype) > 1) return cpu_->classifier(a);
    accelerate::classifier(pool_, products_, a);
  }
  void adamw(const AdamW& a) override {
    assert(fits(a));
    accelerate::adamw(pool_, a);
  }
  void sgd(const Sgd& a) override {
    assert(fits(a));
    accelerate::sgd(pool_, a);
  }

 private:
  ThreadPool& pool_;
  std::unique_ptr<Ops> cpu_;
  cpu::Scratch scratch_;
  cpu::ScratchSlots slots_;  // a slot for each of the pool's threads
  accelerate::Products products_{};
};

}  // namespace

std::unique_ptr<Ops> make_accelerate_ops(ThreadPool& pool, DType products) {
  return std::make_unique<AccelerateOps>(pool, products);
}

}  // namespace ink
