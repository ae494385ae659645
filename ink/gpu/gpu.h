// What a GPU does for us, as little as will do: memory, copies, launches, and matrix products where a library has
// better ones than our own kernel. GpuOps is written once over it; emu/, cuda/ and metal/ implement it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ink/ops/ops.h"
#include "ink/tensor/tensor.h"

namespace ink::gpu {

// The kernels, in the order of kernels.def.
enum class Kernel : uint8_t {
#define KERNEL_ROW(name, threads) name,
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW
};

std::string_view name_of(Kernel kernel);
int threads_of(Kernel kernel);  // of a block
int kernels();                  // how many there are

// Up to so many rows of a product, kernels of their own are faster than tiles, a library's too where there are such.
inline constexpr int64_t kFewRows = 8;

// Blocks of a launch. y and z are at most 65535.
struct Grid {
  int x = 1, y = 1, z = 1;
};

struct Launch {
  Kernel kernel;
  DType real = DType::f32;  // or bf16: which build of the kernels
  Grid grid;
  std::span<const Tensor> buffers;  // the kernel's pointers in order; an empty tensor is one that is not there
  const void* args = nullptr;       // the kernel's struct of args.h; copied
  size_t args_bytes = 0;
};

// One queue: what is asked of it is done in order. Functions throw Error with the device's own words when it fails;
// those that do not wait may report it later.
class Gpu {
 public:
  virtual ~Gpu() = default;

  virtual std::string name() const = 0;         // what --device takes: "cuda"
  virtual std::string description() const = 0;  // one line: the card, its memory, the library of matrix products
  virtual size_t memory() const = 0;            // bytes in all

  virtual std::unique_ptr<Buffer> allocate(size_t bytes) = 0;  // zeroed, aligned to 256
  // As Ops::wrap.
  virtual std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) {
    (void)pages, (void)owner;
    return nullptr;
  }
  // Host memory may be used again as soon as upload returns. download waits for all that was asked before.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;  // on the device; the two must not overlap

  virtual void launch(const Launch& launch) = 0;

  // The product, where the device's library has it in one go: false if not, and then nothing has been done. GpuOps may
  // then ask for it without its epilogue, which it launches as a kernel of its own. a has no dbias. products is what
  // the inputs are rounded to.
  virtual bool gemm(const Gemm& a, DType products) {
    (void)a, (void)products;
    return false;
  }

  virtual void wait() = 0;

  virtual double peak_flops() { return 0; }
  virtual Bandwidth peak_bandwidth() { return {}; }
};

}  // namespace ink::gpu
