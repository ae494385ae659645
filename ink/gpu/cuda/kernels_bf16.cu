#define INK_KERNELS bf16_kernels
#define INK_ENTRY bf16_kernel
#define INK_REAL_BF16
#include "ink/gpu/cuda/kernels-inl.h"
