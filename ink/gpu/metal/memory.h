// The memory of a Metal GPU: buffers that the CPU sees too. A device address is the CPU's, and every command wants the
// buffer it lies in, and where.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "ink/gpu/metal/calls.h"
#include "ink/ops/ops.h"

namespace ink::metal {

struct Place {
  Object buffer;
  size_t offset = 0;
};

class Memory {
 public:
  // calls must outlive this; buffers may outlive both.
  explicit Memory(Calls& calls);

  // Zeroed. Throws Error if it is more than the GPU works with at full speed, together with all that exists.
  std::unique_ptr<Buffer> allocate(size_t bytes);

  // As Ops::wrap.
  std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner);

  // Where these bytes lie. Error, in the name of what asks, if not in one buffer.
  Place find(const void* data, size_t bytes, std::string_view what) const;

 private:
  struct Allocation {
    Object buffer;
    size_t bytes;
  };
  struct Allocations {
    std::map<const std::byte*, Allocation, std::greater<>> at;  // by first byte
    size_t bytes = 0;
  };
  class MetalBuffer;

  Calls& calls_;
  Limits limits_;
  std::shared_ptr<Allocations> all_ = std::make_shared<Allocations>();
};

}  // namespace ink::metal
