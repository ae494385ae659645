// Which tensors a kernel's pointers may point into. Whoever knows a kernel's parameters checks its launches by this.
#pragma once

#include <type_traits>

#include "ink/base/dtype.h"
#include "ink/gpu/dialect.h"

namespace ink::gpu {

// What kind of elements a tensor must have for a parameter Pointer<T>.
template <class T>
constexpr bool holds(DType dtype) {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return dtype == DType::f32;
  if constexpr (std::is_same_v<U, int>) return dtype == DType::i32;
  if constexpr (std::is_same_v<U, bf16>) return dtype == DType::bf16;
  if constexpr (std::is_same_v<U, f16>) return dtype == DType::f16;
  // 16 bits of whatever is made of such.
  if constexpr (std::is_same_v<U, ushort>)
    return block_bytes(dtype) % 2 == 0 && dtype != DType::f32 && dtype != DType::i32;
  return sizeof(U) == 1;  // bytes of anything
}

}  // namespace ink::gpu
