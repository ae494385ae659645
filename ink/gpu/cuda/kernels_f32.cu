#define INK_KERNELS f32_kernels
#define INK_ENTRY f32_kernel
#include "ink/gpu/cuda/kernels-inl.h"
