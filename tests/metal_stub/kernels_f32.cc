#define INK_KERNELS f32_metal_kernels
#define INK_HAS has_f32
#define INK_RUN run_f32
#include "tests/metal_stub/kernels-inl.h"
