// Every kernel, in one namespace for each kind of real: float, or bf16 where INK_REAL_BF16 is defined.
#ifdef INK_REAL_BF16
typedef bf16 real;
#else
typedef float real;
#endif

#define KERNEL_ROW(name, threads) GPU_CONSTANT int name##_threads = threads;
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW

// What the others are made of comes first.
// clang-format off
#include "ink/gpu/kernels/four.k.h"
#include "ink/gpu/kernels/pointwise.k.h"
#include "ink/gpu/kernels/reduce.k.h"
// clang-format on
#include "ink/gpu/kernels/attention.k.h"
#include "ink/gpu/kernels/attention_backward.k.h"
#include "ink/gpu/kernels/cached_attention.k.h"
#include "ink/gpu/kernels/classifier.k.h"
#include "ink/gpu/kernels/embed.k.h"
#include "ink/gpu/kernels/gemm.k.h"
#include "ink/gpu/kernels/gemm_weights.k.h"
#include "ink/gpu/kernels/layernorm.k.h"
#include "ink/gpu/kernels/optimizer.k.h"
