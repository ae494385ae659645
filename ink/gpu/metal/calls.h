// The few calls of Apple's Metal that the metal device makes, one to one: calls.mm makes them, and where there is no
// Metal, tests put a stub in their place that runs the commands in the emulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ink/gpu/gpu.h"

namespace ink::metal {

// An object of Metal's, which exists as long as somebody has this.
using Object = std::shared_ptr<void>;

struct Limits {
  std::string name;           // "Apple M2"
  size_t memory = 0;          // of the machine
  size_t working_set = 0;     // bytes that the GPU works with at full speed
  size_t largest_buffer = 0;  // bytes
  size_t shared_memory = 0;   // bytes of a block
};

// Memory that CPU and GPU both see.
struct SharedMemory {
  Object buffer;
  std::byte* contents = nullptr;
};

struct Pipeline {
  Object state;
  int simd_width = 0;
  int most_threads = 0;      // of a block; fewer than the GPU's where a kernel needs many registers
  size_t shared_memory = 0;  // bytes that a block takes
};

// A matrix of f32, rows one after another.
struct Matrix {
  Object buffer;
  size_t offset = 0;
  int64_t rows = 0, cols = 0;
};

class Calls {
 public:
  virtual ~Calls() = default;

  virtual Limits limits() = 0;
  virtual SharedMemory new_buffer(size_t bytes) = 0;  // of any content; empty if Metal has none
  // Memory that exists: whole pages of one map. Let go of together with owner, when no command uses it any more.
  virtual SharedMemory wrap_buffer(std::span<const std::byte> pages, std::shared_ptr<const void> owner) = 0;
  // A kernel for blocks of so many threads; of the library for real as f32, or as bf16. Throws Error with the words of
  // Metal's compiler.
  virtual Pipeline new_pipeline(const std::string& function, DType real, int threads) = 0;

  // Commands, in order, into a batch that is open until commit. What is set stays set within a batch.
  virtual void set_pipeline(const Pipeline& pipeline) = 0;
  virtual void set_buffer(int index, const Object& buffer, size_t offset) = 0;
  virtual void set_bytes(int index, const void* bytes, size_t size) = 0;  // at most 4096; copied
  virtual void dispatch(gpu::Grid blocks, int threads) = 0;               // threads of a block
  virtual void copy(const Object& to, size_t to_offset, const Object& from, size_t from_offset, size_t bytes) = 0;
  // out = op(a) · op(b), or with accumulate out += that.
  virtual void multiply(const Matrix& out, const Matrix& a, const Matrix& b, bool trans_a, bool trans_b,
                        bool accumulate) = 0;
  virtual void commit() = 0;

  // Until the oldest batch that was committed and not waited for is done. Returns what went wrong, in Metal's words;
  // nothing if all went well.
  virtual std::string wait() = 0;
};

}  // namespace ink::metal
