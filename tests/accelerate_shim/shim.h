// What tests ask of the shim beside Apple's functions: to behave as other machines than the best do.
#pragma once

namespace accelerate_shim {

enum class Bnns {
  exact,     // multiplies halves exactly, sums in float; GELU to the last digit
  rounding,  // rounds both inputs of a product to the shorter of their types; GELU by its formula in floats
  halves,    // keeps sums in the type of b
  flushing,  // takes subnormal inputs for 0
  late,      // refuses products when they are to be computed, not before
  absent,    // refuses every product and activation
};

// For all that follows, on every thread. At first it is rounding: the least that the documentation allows.
void set_bnns(Bnns behaviour);

}  // namespace accelerate_shim
