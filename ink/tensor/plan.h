// Memory before it exists: declare every tensor, read the report, then bind all of them to one block.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "ink/tensor/tensor.h"

namespace ink {

// Whether a tensor has bytes of its own for the whole step, or shares the bytes of all tensors declared under the same
// name. Sharing is how recomputation and inference save memory: the layers' slots point at one place, and the forward
// pass never asks.
enum class Keep { own, shared };

class Plan {
 public:
  // Tensors start at multiples of this many bytes.
  static constexpr size_t kAlignment = 64;

  // Declares a tensor of an arena ("parameters", "activations", ...). bind() writes its place to *slot, which must
  // outlive the plan and not move; the slot's dtype and shape are set at once.
  void add(Tensor* slot, const std::string& arena, std::string name, DType dtype, const Shape& shape,
           Keep keep = Keep::own);

  struct Arena {
    std::string name;
    size_t bytes = 0;
  };
  const std::vector<Arena>& arenas() const { return arenas_; }  // in the order of their first tensor
  size_t bytes() const;                                         // of all arenas
  size_t bytes(const std::string& arena) const;                 // 0 for an unknown arena

  // Points every slot into memory, which holds bytes() bytes aligned to kAlignment. The arenas lie one after another in
  // their order, each contiguous.
  void bind(std::byte* memory) const;

  struct Entry {
    Tensor* slot;
    std::string name;
    size_t arena;   // index into arenas()
    size_t offset;  // within the arena
    Keep keep;
  };
  const std::vector<Entry>& entries() const { return entries_; }

  // A table for people: one line an arena, one for what the program itself takes, and the total.
  std::string report(size_t program_bytes) const;

 private:
  size_t arena_index(const std::string& name);

  std::vector<Arena> arenas_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t> shared_;  // "arena/name" to the entry that owns the bytes
};

// "1.50 GiB", "640.0 MiB", "12 B".
std::string human_bytes(size_t bytes);

}  // namespace ink
