// One build of the kernels and its table. The including file names both.
#include <cstdlib>
#include <tuple>

#include "ink/gpu/cuda/kernels.h"
#include "ink/gpu/dialect.h"

namespace ink::gpu::INK_KERNELS {
#include "ink/gpu/kernels/all.k.h"
}  // namespace ink::gpu::INK_KERNELS

namespace ink::cuda {

namespace {

// kernel is void(pointers..., Args).
template <class... P>
KernelEntry entry_of(void (*kernel)(P...)) {
  constexpr size_t kBuffers = sizeof...(P) - 1;
  using Args = std::tuple_element_t<kBuffers, std::tuple<P...>>;
  static_assert(!std::is_pointer_v<Args>);
  return {reinterpret_cast<const void*>(kernel), kBuffers, sizeof(Args)};
}

}  // namespace

KernelEntry INK_ENTRY(gpu::Kernel kernel) {
  switch (kernel) {
#define KERNEL_ROW(name, threads) \
  case gpu::Kernel::name:         \
    return entry_of(gpu::INK_KERNELS::name);
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW
  }
  std::abort();
}

}  // namespace ink::cuda
