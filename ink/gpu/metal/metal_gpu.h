// The "metal" device: Apple's GPUs from the M1 on. Memory that CPU and GPU share; matrix products of f32 by Metal
// Performance Shaders, of bf16 by a kernel of our own.
#pragma once

#include <memory>

#include "ink/gpu/gpu.h"
#include "ink/gpu/metal/calls.h"

namespace ink::metal {

// 1 if this machine has a GPU that the kernels run on, else 0.
int count_gpus();

// Throws Error that says what is missing: a GPU, or one that is new enough.
std::unique_ptr<gpu::Gpu> make_metal_gpu();

// The same with Metal's calls made by somebody else.
std::unique_ptr<gpu::Gpu> make_metal_gpu(std::unique_ptr<Calls> calls);

}  // namespace ink::metal
