#define INK_KERNELS bf16_kernels
#define INK_LAUNCH launch_bf16
#define INK_REAL_BF16
#include "ink/gpu/emu/kernels-inl.h"
