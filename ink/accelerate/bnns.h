// Accelerate's neural network functions, as far as this machine has them: products of half-precision matrices, and
// GELU. macOS 13 brought the product, macOS 15 calls BNNS deprecated, and which types it multiplies, how exactly, is
// written nowhere: so it is asked, once, with numbers that tell, and what fails is left to the rest of Accelerate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ink/base/dtype.h"
#include "ink/cpu/scratch.h"

namespace ink::accelerate {

// out(m,n) = op(a)(m,k) · op(b)(k,n), row-major without gaps. a and b as they lie in memory.
struct HalfProduct {
  DType a_type, b_type;  // f32, f16 or bf16
  const std::byte* a;
  const std::byte* b;
  float* out;
  int64_t m, n, k;
  bool trans_a = false, trans_b = false;
};

class Bnns {
 public:
  // Uses nothing of it.
  Bnns() = default;
  // What this machine has and does to our liking.
  static Bnns probe();

  // Products of these types are widened exactly and summed in float.
  bool multiplies(DType a_type, DType b_type) const;
  // False if BNNS refuses: out is then undefined.
  static bool multiply(const HalfProduct& p, cpu::Scratch& workspace);

  // Whether its GELU is as accurate as ours.
  bool has_gelu() const { return gelu_; }
  // out is not in. May be called by several threads at once. False if BNNS refuses: out is then undefined.
  static bool gelu(float* out, const float* in, int64_t n);

  std::string description() const;  // "BNNS for bf16 products and GELU", or empty

 private:
  bool bf16_ = false, f16_weights_ = false, bf16_weights_ = false, gelu_ = false;
};

}  // namespace ink::accelerate
