#include "ink/gpu/metal/memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ink/base/check.h"
#include "ink/tensor/plan.h"

namespace ink::metal {

class Memory::MetalBuffer final : public Buffer {
 public:
  MetalBuffer(const SharedMemory& memory, size_t bytes, std::shared_ptr<Allocations> all)
      : data_(memory.contents), size_(bytes), all_(std::move(all)) {
    all_->at[data_] = {memory.buffer, bytes};
    all_->bytes += bytes;
  }
  // Commands that use it keep it until they are done.
  ~MetalBuffer() override {
    all_->at.erase(data_);
    all_->bytes -= size_;
  }
  MetalBuffer(const MetalBuffer&) = delete;
  MetalBuffer& operator=(const MetalBuffer&) = delete;

  std::byte* data() override { return data_; }
  size_t size() const override { return size_; }

 private:
  std::byte* data_;
  size_t size_;
  std::shared_ptr<Allocations> all_;
};

Memory::Memory(Calls& calls) : calls_(calls), limits_(calls.limits()) {}

std::unique_ptr<Buffer> Memory::allocate(size_t bytes) {
  check(bytes <= limits_.largest_buffer, "metal: cannot allocate {} at once; {} takes at most {}", human_bytes(bytes),
        limits_.name, human_bytes(limits_.largest_buffer));
  check(bytes <= limits_.working_set && all_->bytes <= limits_.working_set - bytes,
        "metal: cannot allocate {}: {} of the {} that {} works with are taken; use a smaller --batch or --context",
        human_bytes(bytes), human_bytes(all_->bytes), human_bytes(limits_.working_set), limits_.name);
  const SharedMemory memory = calls_.new_buffer(std::max<size_t>(bytes, 1));
  check(memory.buffer != nullptr, "metal: cannot allocate {}: the system has no memory left; use a smaller --batch",
        human_bytes(bytes));
  std::memset(memory.contents, 0, bytes);  // Metal does not promise it
  return std::make_unique<MetalBuffer>(memory, bytes, all_);
}

std::unique_ptr<Buffer> Memory::wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) {
  const size_t bytes = pages.size(), most = limits_.working_set - std::min(limits_.working_set, all_->bytes);
  if (bytes == 0 || bytes > limits_.largest_buffer || bytes > most) return nullptr;
  const SharedMemory memory = calls_.wrap_buffer(pages, std::move(owner));
  if (memory.buffer == nullptr) return nullptr;
  return std::make_unique<MetalBuffer>(memory, bytes, all_);
}

Place Memory::find(const void* data, size_t bytes, std::string_view what) const {
  const auto* first = static_cast<const std::byte*>(data);
  const auto found = all_->at.lower_bound(first);  // the last that begins at or before it
  check(found != all_->at.end(), "metal: {}: {} bytes that are not in the GPU's memory", what, bytes);
  const auto offset = static_cast<size_t>(first - found->first);
  check(offset <= found->second.bytes && bytes <= found->second.bytes - offset,
        "metal: {}: {} bytes that are not in the GPU's memory", what, bytes);
  return {found->second.buffer, offset};
}

}  // namespace ink::metal
