#include "ink/gpu/gpu_ops.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <utility>

#include "ink/base/check.h"
#include "ink/ops/check_args.h"
#include "ink/tensor/plan.h"

namespace ink::gpu {

GpuOps::GpuOps(std::unique_ptr<Gpu> gpu, DType storage) : gpu_(std::move(gpu)), storage_(storage) {}
GpuOps::~GpuOps() = default;

std::string GpuOps::name() const { return gpu_->name(); }
std::string GpuOps::description() const { return gpu_->description() + (storage_ == DType::bf16 ? ", bf16" : ""); }
double GpuOps::peak_flops() { return gpu_->peak_flops(); }
Bandwidth GpuOps::peak_bandwidth() { return gpu_->peak_bandwidth(); }

std::unique_ptr<Buffer> GpuOps::allocate(size_t bytes) { return gpu_->allocate(bytes); }
size_t GpuOps::memory() const { return gpu_->memory(); }
std::unique_ptr<Buffer> GpuOps::wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) {
  return gpu_->wrap(pages, std::move(owner));
}

void GpuOps::upload(const Tensor& to, const void* from) {
  if (to.bytes() > 0) gpu_->upload(to.data, from, to.bytes());
}

void GpuOps::download(void* to, const Tensor& from) {
  if (from.bytes() > 0) gpu_->download(to, from.data, from.bytes());
}

void GpuOps::copy(const Tensor& to, const Tensor& from) {
  assert(to.dtype == from.dtype && to.numel() == from.numel());
  if (to.bytes() > 0 && to.data != from.data) gpu_->copy(to.data, from.data, to.bytes());
}

void GpuOps::fill(const Tensor& t, float value) {
  if (t.numel() == 0) return;
  launch(Kernel::fill, DType::f32, grid_for(Kernel::fill, t.numel()), {t}, FillArgs{.n = t.numel(), .value = value});
}

Grid GpuOps::grid_for(Kernel kernel, int64_t threads) {
  const int64_t per_block = threads_of(kernel);
  const int64_t blocks = (threads + per_block - 1) / per_block;
  check(blocks <= INT32_MAX, "kernel {}: {} threads are too many for one launch", name_of(kernel), threads);
  return {.x = static_cast<int>(blocks)};
}

int GpuOps::to_int(int64_t size) {
  check(size <= INT32_MAX, "a kernel was given {} rows or columns; {} is the most", size, INT32_MAX);
  return static_cast<int>(size);
}

int GpuOps::aligned(int64_t cols, std::initializer_list<Tensor> tensors) {
  const auto fits = [](const Tensor& t) {
    return !t || reinterpret_cast<uintptr_t>(t.data) % (4 * block_bytes(t.dtype)) == 0;
  };
  return cols % 4 == 0 && std::all_of(tensors.begin(), tensors.end(), fits) ? 1 : 0;
}

Tensor GpuOps::scratch(Scratch slot, DType dtype, int64_t n) {
  std::unique_ptr<Buffer>& buffer = scratch_[static_cast<size_t>(slot)];
  const size_t bytes = bytes_of(dtype, n);
  if (buffer == nullptr || buffer->size() < bytes) {
    gpu_->wait();  // for kernels that still use the old one
    buffer = gpu_->allocate(bytes);
  }
  return {buffer->data(), dtype, {n}};
}

void GpuOps::gelu(const Gelu& a) {
  assert(fits(a, on_device(a.in.dtype)));
  launch(Kernel::gelu, a.in.dtype, grid_for(Kernel::gelu, a.in.numel()), {a.out, a.in}, GeluArgs{.n = a.in.numel()});
}

void GpuOps::cast(const Cast& a) {
  assert(fits(a));
  launch(Kernel::cast, a.out.dtype, grid_for(Kernel::cast, a.in.numel()), {a.out, a.in},
         CastArgs{.n = a.in.numel(), .seed = a.seed});
}

}  // namespace ink::gpu
