#include "ink/ops/host_ops.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/ops/check_args.h"
#include "ink/tensor/cast.h"
#include "ink/tensor/plan.h"

namespace ink {

namespace {

// Anonymous pages: aligned, zeroed when first touched, and given back to the system at once when freed.
class HostBuffer : public Buffer {
 public:
  explicit HostBuffer(size_t bytes) : size_(bytes) {
    memory_ = ::mmap(nullptr, mapped(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory_ != MAP_FAILED, "cannot allocate {} of memory ({}); use a smaller model, batch or context",
          human_bytes(bytes), std::strerror(errno));
#ifdef MADV_HUGEPAGE
    // Large pages where the system has them: a fault for every 2 MiB instead of every 4 KiB, which a first step spends
    // most of its time on, and fewer misses in the tables of addresses. A refusal changes nothing else.
    ::madvise(memory_, mapped(), MADV_HUGEPAGE);
#endif
  }
  ~HostBuffer() override { ::munmap(memory_, mapped()); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() override { return static_cast<std::byte*>(memory_); }
  size_t size() const override { return size_; }

 private:
  size_t mapped() const { return std::max<size_t>(size_, 1); }  // mmap refuses 0

  void* memory_ = nullptr;
  size_t size_;
};

}  // namespace

std::unique_ptr<Buffer> HostOps::allocate(size_t bytes) { return std::make_unique<HostBuffer>(bytes); }

size_t HostOps::memory() const { return physical_memory(); }

void HostOps::upload(const Tensor& to, const void* from) {
  if (to.bytes() > 0) std::memcpy(to.data, from, to.bytes());
}

void HostOps::download(void* to, const Tensor& from) {
  if (from.bytes() > 0) std::memcpy(to, from.data, from.bytes());
}

void HostOps::copy(const Tensor& to, const Tensor& from) {
  assert(to.dtype == from.dtype && to.numel() == from.numel());
  if (to.bytes() > 0) std::memmove(to.data, from.data, to.bytes());
}

void HostOps::fill(const Tensor& t, float value) { std::ranges::fill(t.span<float>(), value); }

void HostOps::cast(const Cast& a) {
  assert(fits(a));
  const auto n = static_cast<size_t>(a.in.numel());
  const std::span<const float> in(a.in.f32(), n);
  if (a.seed == 0 || a.out.dtype == DType::f32) return from_f32(in, a.out.dtype, a.out.data);
  auto* out = reinterpret_cast<uint16_t*>(a.out.data);
  for (size_t i = 0; i < n; ++i) out[i] = f32_to_bf16(in[i], static_cast<uint16_t>(random_bits(a.seed, i)));
}

}  // namespace ink
