// The kernels as host C++, in their two builds.
#pragma once

#include "ink/gpu/emu/emulator.h"

namespace ink::emu {

void launch_f32(Emulator& emulator, const gpu::Launch& launch);
void launch_bf16(Emulator& emulator, const gpu::Launch& launch);

}  // namespace ink::emu
