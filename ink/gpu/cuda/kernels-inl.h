// One build of the kernels and its table. The including file names both.
#include <cstdlib>
#include <tuple>

#include "ink/gpu/cuda/kernels.h"
#include "ink/gpu/dialect.h"
#include "ink/gpu/holds.h"

namespace ink::gpu::INK_KERNELS {
#include "ink/gpu/kernels/all.k.h"
}  // namespace ink::gpu::INK_KERNELS

namespace ink::cuda {

namespace {

// The struct behind the pointers is not one.
template <class P>
constexpr bool takes(DType dtype) {
  if constexpr (std::is_pointer_v<P>) return gpu::holds<std::remove_pointer_t<P>>(dtype);
  return false;
}

// kernel is void(pointers..., Args).
template <class... P>
KernelEntry entry_of(void (*kernel)(P...)) {
  constexpr size_t kBuffers = sizeof...(P) - 1;
  using Args = std::tuple_element_t<kBuffers, std::tuple<P...>>;
  static_assert(!std::is_pointer_v<Args>);
  const auto takes_at = [](size_t i, DType dtype) {
    constexpr bool (*kTakes[])(DType) = {takes<P>...};
    return kTakes[i](dtype);
  };
  return {reinterpret_cast<const void*>(kernel), kBuffers, sizeof(Args), takes_at};
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
