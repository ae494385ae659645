// Checks the arguments and hands them to the kernels, with the pool and the scratch memory they need.
#include "ink/accelerate/accelerate_ops.h"

#include <fmt/format.h>

#include <cassert>

#include "ink/accelerate/kernels.h"
#include "ink/base/system.h"
#include "ink/cpu/cpu_ops.h"
#include "ink/cpu/kernels.h"
#include "ink/ops/check_args.h"
#include "ink/ops/host_ops.h"

namespace ink {

namespace {

class AccelerateOps final : public HostOps {
 public:
  AccelerateOps(ThreadPool& pool, DType products, accelerate::Uses uses)
      : pool_(pool), uses_(uses), cpu_(make_cpu_ops(pool, products)), slots_(pool.threads()) {
    products_.cpu = cpu_.get();
    products_.rounding = products;
    products_.bnns = accelerate::Bnns::probe();
  }

  std::string name() const override { return accelerate::device_name(uses_); }
  std::string description() const override {
    std::string parts = "Accelerate's BLAS, vDSP and vForce";
    const std::string bnns = products_.bnns.description();
    if (!bnns.empty()) parts += ", " + bnns;
    if (!uses_.all()) parts = fmt::format("{} for {}", parts, name().substr(name().find(':') + 1));
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
    if (!uses_[accelerate::add_layernorm_op]) return cpu_->add_layernorm(a);
    accelerate::add_layernorm(pool_, a);
  }
  void add_layernorm_backward(const AddLayerNormBackward& a) override {
    assert(fits(a));
    if (!uses_[accelerate::add_layernorm_backward_op]) return cpu_->add_layernorm_backward(a);
    accelerate::add_layernorm_backward(pool_, scratch_, slots_, a);
  }
  void gemm(const Gemm& a) override {
    assert(fits(a));
    if (!uses_[accelerate::gemm_op] || block_of(a.b.dtype) > 1) return cpu_->gemm(a);
    accelerate::gemm(pool_, products_, a);
  }
  void gelu(const Gelu& a) override {
    assert(fits(a));
    if (!uses_[accelerate::gelu_op]) return cpu_->gelu(a);
    accelerate::gelu(pool_, products_.bnns, a);
  }
  void classifier(const Classifier& a) override {
    assert(fits(a));
    if (!uses_[accelerate::classifier_op] || block_of(a.weight.dtype) > 1) return cpu_->classifier(a);
    accelerate::classifier(pool_, products_, a);
  }
  void adamw(const AdamW& a) override {
    assert(fits(a));
    if (!uses_[accelerate::adamw_op]) return cpu_->adamw(a);
    accelerate::adamw(pool_, a);
  }
  void sgd(const Sgd& a) override {
    assert(fits(a));
    if (!uses_[accelerate::sgd_op]) return cpu_->sgd(a);
    accelerate::sgd(pool_, a);
  }

 private:
  ThreadPool& pool_;
  accelerate::Uses uses_;
  std::unique_ptr<Ops> cpu_;
  cpu::Scratch scratch_;
  cpu::ScratchSlots slots_;  // a slot for each of the pool's threads
  accelerate::Products products_{};
};

}  // namespace

std::unique_ptr<Ops> make_accelerate_ops(ThreadPool& pool, DType products, accelerate::Uses uses) {
  return std::make_unique<AccelerateOps>(pool, products, uses);
}

std::unique_ptr<Ops> make_faster_ops(ThreadPool& pool, DType products) {
  std::unique_ptr<Ops> accelerate = make_accelerate_ops(pool, products);
  // Not the number of threads: it must not change the results.
  const std::string key = fmt::format("{}, {}", cpu_name(), name_of(products));
  const std::filesystem::path folder = user_cache_folder();
  const std::filesystem::path file = folder.empty() ? folder : folder / "device-auto.txt";
  const accelerate::Uses uses = accelerate::remembered(
      file, key, [&] { return accelerate::time_operations(*make_cpu_ops(pool, products), *accelerate); });
  return uses.none() ? make_cpu_ops(pool, products) : make_accelerate_ops(pool, products, uses);
}

}  // namespace ink
