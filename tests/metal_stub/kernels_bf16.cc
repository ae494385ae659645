#define INK_KERNELS bf16_metal_kernels
#define INK_HAS has_bf16
#define INK_RUN run_bf16
#define INK_REAL_BF16
#include "tests/metal_stub/kernels-inl.h"
