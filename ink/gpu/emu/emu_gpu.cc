#include "ink/gpu/emu/emu_gpu.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/gpu/emu/kernels.h"

namespace ink::emu {

namespace {

constexpr size_t kAlignment = 256;

// The allocations that exist: where each begins and ends. What a launch or a copy names must lie in one of them, as a
// GPU cannot reach the host's memory.
using Allocations = std::map<const std::byte*, size_t, std::greater<>>;

class EmuBuffer final : public Buffer {
 public:
  EmuBuffer(size_t bytes, std::shared_ptr<Allocations> all)
      : size_(bytes), memory_(bytes + kAlignment), all_(std::move(all)) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    data_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
    (*all_)[data_] = bytes;
  }
  ~EmuBuffer() override { all_->erase(data_); }
  EmuBuffer(const EmuBuffer&) = delete;
  EmuBuffer& operator=(const EmuBuffer&) = delete;

  std::byte* data() override { return data_; }
  size_t size() const override { return size_; }

 private:
  size_t size_;
  std::vector<std::byte> memory_;
  std::byte* data_;
  std::shared_ptr<Allocations> all_;
};

class EmuGpu final : public gpu::Gpu {
 public:
  explicit EmuGpu(Order order) : emulator_(order) {}

  std::string name() const override { return "emu"; }
  std::string description() const override { return "the GPU kernels, emulated and checked on 1 thread: slow"; }
  size_t memory() const override { return physical_memory(); }

  std::unique_ptr<Buffer> allocate(size_t bytes) override { return std::make_unique<EmuBuffer>(bytes, allocations_); }
  void upload(void* to, const void* from, size_t bytes) override {
    expect_ours(to, bytes, "upload");
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override {
    expect_ours(from, bytes, "download");
    std::memcpy(to, from, bytes);
  }
  void copy(void* to, const void* from, size_t bytes) override {
    expect_ours(to, bytes, "copy");
    expect_ours(from, bytes, "copy");
    std::memcpy(to, from, bytes);
  }
  void launch(const gpu::Launch& launch) override {
    for (const Tensor& t : launch.buffers) {
      if (t) expect_ours(t.data, t.bytes(), gpu::name_of(launch.kernel));
    }
    launch.real == DType::bf16 ? launch_bf16(emulator_, launch) : launch_f32(emulator_, launch);
  }
  void wait() override {}

 private:
  void expect_ours(const void* data, size_t bytes, std::string_view what) const {
    const auto* p = static_cast<const std::byte*>(data);
    const auto found = allocations_->lower_bound(p);  // the last that begins at or before p
    check(found != allocations_->end() && p + bytes <= found->first + found->second,
          "{}: {} bytes that are not in the emulated GPU's memory", what, bytes);
  }

  Emulator emulator_;
  std::shared_ptr<Allocations> allocations_ = std::make_shared<Allocations>();
};

}  // namespace

std::unique_ptr<gpu::Gpu> make_emu_gpu(Order order) { return std::make_unique<EmuGpu>(order); }

}  // namespace ink::emu
