// One build of the kernels and its table of launches. The including file names both.
#include <cstdlib>

#include "ink/gpu/dialect.h"
#include "ink/gpu/emu/kernels.h"

namespace ink::gpu::INK_KERNELS {
#include "ink/gpu/kernels/all.k.h"
}  // namespace ink::gpu::INK_KERNELS

namespace ink::emu {

void INK_LAUNCH(Emulator& emulator, const gpu::Launch& a) {
  switch (a.kernel) {
#define KERNEL_ROW(name, threads) \
  case gpu::Kernel::name:         \
    return launch(emulator, #name, gpu::INK_KERNELS::name, threads, a.grid, a.buffers, a.args, a.args_bytes);
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW
  }
  std::abort();
}

}  // namespace ink::emu
