// The kernels as CUDA, in their two builds: what a launch needs to know of each.
#pragma once

#include <cstddef>

#include "ink/gpu/gpu.h"

namespace ink::cuda {

struct KernelEntry {
  const void* function = nullptr;                  // for cudaLaunchKernel
  size_t buffers = 0;                              // pointers that it takes,
  size_t args_bytes = 0;                           // and the size of the struct behind them
  bool (*takes)(size_t i, DType dtype) = nullptr;  // whether pointer i may be of a tensor of that type
};

KernelEntry f32_kernel(gpu::Kernel kernel);
KernelEntry bf16_kernel(gpu::Kernel kernel);

}  // namespace ink::cuda
