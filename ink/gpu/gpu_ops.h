// The operations of ops.h on a GPU, written once over gpu.h: which kernels, with what grids, in what order.
// Activations, their gradients and weights are all f32 or all bf16 (stored so, computed as f32); statistics, losses,
// gradients of parameters and the optimizer's state are f32.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "ink/gpu/args.h"
#include "ink/gpu/gpu.h"
#include "ink/ops/ops.h"

namespace ink::gpu {

class GpuOps final : public Ops {
 public:
  // storage: f32, or bf16 (see Ops::storage).
  GpuOps(std::unique_ptr<Gpu> gpu, DType storage);
  ~GpuOps() override;

  std::string name() const override;
  std::string description() const override;
  double peak_flops() override;
  Bandwidth peak_bandwidth() override;
  DType products() const override { return storage_; }
  DType storage() const override { return storage_; }

  std::unique_ptr<Buffer> allocate(size_t bytes) override;
  size_t memory() const override;
  std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) override;
  void upload(const Tensor& to, const void* from) override;
  void download(void* to, const Tensor& from) override;
  void copy(const Tensor& to, const Tensor& from) override;
  void fill(const Tensor& t, float value) override;

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
  void cast(const Cast& a) override;
  double sum_squares(const Tensor& x) override;
  bool all_finite(const Tensor& x) override;
  void wait() override { gpu_->wait(); }

 private:
  // Launches the build of the kernel for real; args is its struct of args.h. A grid of 0 is that of tensors without
  // elements: nothing is to be done.
  template <class Args>
  void launch(Kernel kernel, DType real, Grid grid, std::initializer_list<Tensor> buffers, const Args& args) {
    if (grid.x == 0) return;
    gpu_->launch({.kernel = kernel,
                  .real = real,
                  .grid = grid,
                  .buffers = {buffers.begin(), buffers.size()},
                  .args = &args,
                  .args_bytes = sizeof args});
  }
  // The blocks of a kernel for so many threads in all.
  static Grid grid_for(Kernel kernel, int64_t threads);
  // A size as kernels take it; Error if it is too large.
  static int to_int(int64_t size);
  // 1 if rows of so many elements of these tensors (those that are there) can be read by four, else 0.
  static int aligned(int64_t cols, std::initializer_list<Tensor> tensors);

  // What gemm is made of where the device's library does not have it (gpu_gemm.cc).
  bool gemm_by_library(const Gemm& a);
  void gemm_by_tiles(const Gemm& a);
  void gemm_by_blocks(const Gemm& a);
  void gemm_of_few_rows(Kernel kernel, std::initializer_list<Tensor> buffers, const Gemm& a);
  GemmArgs gemm_args(const Gemm& a) const;
  void add_column_sums(const Tensor& out, const Tensor& in);

  // n elements of memory between two kernels of one operation: the same memory at every call, grown when first needed,
  // so that steps do not allocate. Operations that call each other must not both use it: slot tells them apart.
  enum class Scratch : uint8_t { partial, gemm, quantized, kCount };
  Tensor scratch(Scratch slot, DType dtype, int64_t n);

  std::unique_ptr<Gpu> gpu_;
  DType storage_;
  std::unique_ptr<Buffer> scratch_[static_cast<size_t>(Scratch::kCount)];
};

}  // namespace ink::gpu
