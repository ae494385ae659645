// Elements of weights as they lie in memory: types that tell kernels apart.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "ink/base/dtype.h"

namespace ink::cpu {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

inline float widen(float x) { return x; }
inline float widen(F16 x) { return f16_to_f32(x.bits); }
inline float widen(BF16 x) { return bf16_to_f32(x.bits); }
inline float widen(int8_t x) { return x; }

// GGUF's blocks: see DType.
constexpr int64_t kQuantized = block_of(DType::q8_0);
struct Q8Block {
  uint16_t d;
  int8_t q[kQuantized];
};
struct Q4Block {
  uint16_t d;
  uint8_t q[kQuantized / 2];
};
static_assert(sizeof(Q8Block) == block_bytes(DType::q8_0) && sizeof(Q4Block) == block_bytes(DType::q4_0));

// f(elements of data) for weights that have no blocks.
template <class F>
void with_elements(DType dtype, const std::byte* data, const F& f) {
  switch (dtype) {
    case DType::f16:
      return f(reinterpret_cast<const F16*>(data));
    case DType::bf16:
      return f(reinterpret_cast<const BF16*>(data));
    default:
      assert(dtype == DType::f32);
      return f(reinterpret_cast<const float*>(data));
  }
}

}  // namespace ink::cpu
