// The "cuda" device: NVIDIA's GPUs of compute capability 8.0 and newer, products by cuBLASLt.
#pragma once

#include <memory>

#include "ink/base/dtype.h"
#include "ink/gpu/gpu.h"

namespace ink::cuda {

// How many GPUs the driver shows; 0 where there is no driver or none that this build can use.
int count_gpus();

// The GPU of that number, in the driver's order. products is what peak_flops measures. Throws Error that says what is
// missing: the driver, a newer one, a GPU, one of that number, one that is new enough.
std::unique_ptr<gpu::Gpu> make_cuda_gpu(int index, DType products);

}  // namespace ink::cuda
