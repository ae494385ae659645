// Every kernel, in one namespace for each kind of real: float, or bf16 where INK_REAL_BF16 is defined.
#ifdef INK_REAL_BF16
typedef bf16 real;
#else
typedef float real;
#endif

#define KERNEL_ROW(name, threads) GPU_CONSTANT int name##_threads = threads;
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW

#include "ink/gpu/kernels/pointwise.k.h"
#include "ink/gpu/kernels/reduce.k.h"
