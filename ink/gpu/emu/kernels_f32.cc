#define INK_KERNELS f32_kernels
#define INK_LAUNCH launch_f32
#include "ink/gpu/emu/kernels-inl.h"
