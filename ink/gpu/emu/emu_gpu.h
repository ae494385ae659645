// The "emu" device: the GPU kernels on the host, checked. Slow; for tests, and for writing kernels without a GPU.
#pragma once

#include <memory>

#include "ink/gpu/emu/emulator.h"
#include "ink/gpu/gpu.h"

namespace ink::emu {

std::unique_ptr<gpu::Gpu> make_emu_gpu(Order order = Order::forward);

}  // namespace ink::emu
