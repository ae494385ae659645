// Where no kernel for 8-bit dot products is written: the numbers of blocks are multiplied as floats.
#include "ink/cpu/gemm_quantized.h"

namespace ink::cpu {

const QuantizedKernels* vnni_kernels() { return nullptr; }

}  // namespace ink::cpu
