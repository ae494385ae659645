// The kernels of Metal's library, looked up by name and run on bound buffers. The including file names the build.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "ink/gpu/dialect.h"
#include "tests/metal_stub/kernels.h"

namespace ink::gpu::INK_KERNELS {
#include "ink/gpu/kernels/all.k.h"
//
#include "tests/metal_stub/simdgroup.h"
//
#include "ink/gpu/metal/matmul.metal"
}  // namespace ink::gpu::INK_KERNELS

namespace ink::metal {

namespace {

template <class T>
constexpr DType element_type() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return DType::f32;
  if constexpr (std::is_same_v<U, gpu::bf16>) return DType::bf16;
  if constexpr (std::is_same_v<U, gpu::f16> || std::is_same_v<U, gpu::ushort>) return DType::f16;  // 16 bits
  return DType::i32;
}

// A kernel sees a buffer from the offset that was bound to its end.
template <class P>
Tensor tensor_of(const Binding& b) {
  using T = typename emu::Pointee<P>::Type;
  constexpr DType dtype = element_type<T>();
  check(b.data != nullptr, "a buffer is not bound");
  return {b.data, dtype, {static_cast<int64_t>(b.bytes) / static_cast<int64_t>(bytes_of(dtype, 1))}};
}

template <class Tuple, size_t... I>
std::array<Tensor, sizeof...(I)> tensors_of(std::span<const Binding> bindings, std::index_sequence<I...>) {
  return {tensor_of<std::tuple_element_t<I, Tuple>>(bindings[I])...};
}

template <class... P>
void run_bound(emu::Emulator& emulator, const Dispatch& d, void (*kernel)(P...)) {
  using Parameters = emu::Parameters<P...>;
  constexpr size_t kPointers = Parameters::kPointers;
  check(d.bindings.size() == kPointers + 1, "kernel {}: {} arguments are bound, it takes {}", d.function,
        d.bindings.size(), kPointers + 1);
  const auto tensors = tensors_of<typename Parameters::Pointers>(d.bindings, std::make_index_sequence<kPointers>());
  const std::vector<std::byte>& args = d.bindings[kPointers].args;
  emu::launch(emulator, d.function.c_str(), kernel, d.threads, d.grid, tensors, args.data(), args.size());
}

}  // namespace

bool INK_HAS(std::string_view function) {
  constexpr std::string_view kNames[] = {
#define KERNEL_ROW(name, threads) #name,
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW
      "matmul", "matmul_gradient"};
  return std::ranges::find(kNames, function) != std::end(kNames);
}

void INK_RUN(emu::Emulator& emulator, const Dispatch& d) {
#define KERNEL_ROW(name, threads) \
  if (d.function == #name) return run_bound(emulator, d, gpu::INK_KERNELS::name);
#include "ink/gpu/kernels.def"
  KERNEL_ROW(matmul, 256)
  KERNEL_ROW(matmul_gradient, 256)
#undef KERNEL_ROW
  fail("no kernel {}", d.function);
}

}  // namespace ink::metal
