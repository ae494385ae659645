// Where no kernel for bf16 dot products is written: elements are rounded to bf16 and multiplied as floats.
#include "ink/cpu/gemm_blocks.h"

namespace ink::cpu {

const MultiplyPanels* bf16_multiply_panels() { return nullptr; }

}  // namespace ink::cpu
