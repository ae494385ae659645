// Runs kernels on the host, block by block, a block's threads as fibers, and stops at what a GPU would let pass: an
// index out of bounds, a vector at an address that is no multiple of its size, a barrier that not all threads of a
// block reach, a thread that returned before one, a shuffle without its simd group. Shared memory starts as NaN. The
// order in which threads and blocks run is the caller's choice: a kernel whose result changes with it has a race.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/dtype.h"
#include "ink/gpu/dialect.h"
#include "ink/gpu/gpu.h"
#include "ink/gpu/holds.h"
#include "ink/tensor/tensor.h"

namespace ink::emu {

enum class Order : uint8_t { forward, reversed, shuffled };

// A launch whose arguments are known: body runs one thread.
struct Task {
  const char* kernel = "";
  int threads = 0;
  gpu::Grid grid;
  void (*body)(const void* self) = nullptr;
  const void* self = nullptr;
};

class Emulator {
 public:
  // seed draws the orders of Order::shuffled.
  explicit Emulator(Order order, uint32_t seed = 1);
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Throws Error that names kernel, block, thread and what was wrong.
  void run(const Task& task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

template <class P>
struct Pointee;
template <class T>
struct Pointee<Pointer<T>> {
  using Type = T;
};

template <class P>
P pointer_to(const char* kernel, std::span<const Tensor> buffers, size_t i) {
  using T = typename Pointee<P>::Type;
  const Tensor& t = buffers[i];
  if (!t) return P(nullptr, 0, static_cast<int>(i));
  check(gpu::holds<T>(t.dtype), "kernel {}: buffer {} holds {}, which is not what the kernel takes", kernel, i,
        name_of(t.dtype));
  return P(reinterpret_cast<T*>(t.data), static_cast<int64_t>(t.bytes() / sizeof(T)), static_cast<int>(i));
}

// kernel is void(Pointer<...>..., const Args&).
template <class Tuple, class Args, size_t... I>
void launch_kernel(Emulator& emulator, const char* name, auto kernel, int threads, gpu::Grid grid,
                   std::span<const Tensor> buffers, const void* args, size_t args_bytes, std::index_sequence<I...>) {
  check(buffers.size() == sizeof...(I), "kernel {}: {} buffers given, it takes {}", name, buffers.size(), sizeof...(I));
  check(args_bytes == sizeof(Args), "kernel {}: {} bytes of args given, it takes {}", name, args_bytes, sizeof(Args));
  const auto body = [&, pointers = Tuple(pointer_to<std::tuple_element_t<I, Tuple>>(name, buffers, I)...)] {
    kernel(std::get<I>(pointers)..., *static_cast<const Args*>(args));
  };
  emulator.run({.kernel = name,
                .threads = threads,
                .grid = grid,
                .body = [](const void* self) { (*static_cast<const decltype(body)*>(self))(); },
                .self = &body});
}

// Splits the parameters of a kernel into pointers and args.
template <class... P>
struct Parameters {
  static constexpr size_t kPointers = sizeof...(P) - 1;
  using All = std::tuple<P...>;
  using Args = std::remove_cvref_t<std::tuple_element_t<kPointers, All>>;
  template <size_t... I>
  static std::tuple<std::tuple_element_t<I, All>...> first(std::index_sequence<I...>);
  using Pointers = decltype(first(std::make_index_sequence<kPointers>()));
};

// Runs a kernel written in the dialect. Throws Error, besides, if the tensors do not fit its parameters.
template <class... P>
void launch(Emulator& emulator, const char* name, void (*kernel)(P...), int threads, gpu::Grid grid,
            std::span<const Tensor> buffers, const void* args, size_t args_bytes) {
  using S = Parameters<P...>;
  launch_kernel<typename S::Pointers, typename S::Args>(emulator, name, kernel, threads, grid, buffers, args,
                                                        args_bytes, std::make_index_sequence<S::kPointers>());
}

}  // namespace ink::emu
