// Checks the arguments and hands them to the kernels, with the pool and the scratch memory they need.
#include "ink/cpu/cpu_ops.h"

#include <fmt/format.h>

#include <cassert>
#include <cstring>

#include "ink/cpu/kernels.h"
#include "ink/cpu/sgemm.h"
#include "ink/ops/check_args.h"
#include "ink/ops/host_ops.h"

namespace ink {

namespace {

class CpuOps final : public HostOps {
 public:
  CpuOps(ThreadPool& pool, const cpu::SgemmLibrary* library, DType products)
      : pool_(pool), slots_(pool.threads()), engine_(library, products, pool.threads()) {
    if (library != nullptr) library->prepare();
  }

  std::string name() const override {
    return engine_.library == nullptr ? "cpu" : fmt::format("cpu-{}", engine_.library->name);
  }
  std::string description() const override {
    std::string products = "own matrix kernels";
    if (engine_.library != nullptr) products = engine_.library->description();
    if (engine_.products == DType::bf16) {
      products += cpu::has_bf16_instructions() ? ", bf16 products" : ", bf16 products (by rounding: no instructions)";
    }
    return fmt::format("{}, {}, {} thread{}", cpu::instruction_set(), products, pool_.threads(),
                       pool_.threads() == 1 ? "" : "s");
  }

  DType products() const override { return engine_.products; }

  double peak_flops() override {
    if (peak_flops_ == 0) peak_flops_ = cpu::measure_flops(pool_);
    return peak_flops_;
  }
  Bandwidth peak_bandwidth() override {
    constexpr size_t kBeyondCaches = size_t{256} << 20;
    if (bandwidth_.read == 0) bandwidth_ = cpu::measure_bandwidth(pool_, *allocate(kBeyondCaches));
    return bandwidth_;
  }

  void copy(const Tensor& to, const Tensor& from) override {
    assert(to.dtype == from.dtype && to.numel() == from.numel());
    pool_.run_range(static_cast<int64_t>(to.bytes()), kBytes, [&](int64_t begin, int64_t end) {
      std::memcpy(to.data + begin, from.data + begin, static_cast<size_t>(end - begin));
    });
  }
  void fill(const Tensor& t, float value) override {
    float* data = t.f32();
    pool_.run_range(t.numel(), kBytes / 4,
                    [&](int64_t begin, int64_t end) { std::fill(data + begin, data + end, value); });
  }

  void embed(const Embed& a) override {
    assert(fits(a));
    cpu::embed(pool_, a);
  }
  void embed_backward(const EmbedBackward& a) override {
    assert(fits(a));
    cpu::embed_backward(pool_, a);
  }
  void add_layernorm(const AddLayerNorm& a) override {
    assert(fits(a));
    cpu::add_layernorm(pool_, a);
  }
  void add_layernorm_backward(const AddLayerNormBackward& a) override {
    assert(fits(a));
    cpu::add_layernorm_backward(pool_, scratch_, a);
  }
  void gemm(const Gemm& a) override {
    assert(fits(a));
    cpu::gemm(pool_, engine_, a);
  }
  void gelu(const Gelu& a) override {
    assert(fits(a));
    cpu::gelu(pool_, a);
  }
  void attention(const Attention& a) override {
    assert(fits(a));
    cpu::attention(pool_, slots_, a);
  }
  void attention_backward(const AttentionBackward& a) override {
    assert(fits(a));
    cpu::attention_backward(pool_, slots_, a);
  }
  void cached_attention(const CachedAttention& a) override {
    assert(fits(a));
    cpu::cached_attention(pool_, scratch_, slots_, a);
  }
  void classifier(const Classifier& a) override {
    assert(fits(a));
    cpu::classifier(pool_, engine_, a);
  }
  void adamw(const AdamW& a) override {
    assert(fits(a));
    cpu::adamw(pool_, a);
  }
  void sgd(const Sgd& a) override {
    assert(fits(a));
    cpu::sgd(pool_, a);
  }
  double sum_squares(const Tensor& x) override { return cpu::sum_squares(pool_, scratch_, x); }
  bool all_finite(const Tensor& x) override { return cpu::all_finite(pool_, x); }

 private:
  static constexpr int64_t kBytes = int64_t{1} << 20;  // of a task that only moves memory

  ThreadPool& pool_;
  double peak_flops_ = 0;
  Bandwidth bandwidth_;
  cpu::Scratch scratch_;
  cpu::ScratchSlots slots_;  // a slot for each of the pool's threads
  cpu::GemmEngine engine_;
};

}  // namespace

std::unique_ptr<Ops> make_cpu_ops(ThreadPool& pool, DType products, const cpu::SgemmLibrary* library) {
  return std::make_unique<CpuOps>(pool, library, products);
}

}  // namespace ink
