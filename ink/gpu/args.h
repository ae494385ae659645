// The last argument of each kernel: sizes and numbers, one struct that host and device share. Plain members only, in
// sizes that both lay out alike: int (32 bits), index_t (64), float.
#pragma once

#ifdef __METAL_VERSION__
#define INK_GPU_BEGIN  // Metal finds kernels by their plain names
#define INK_GPU_END
typedef long index_t;
#else
#include <cstdint>
#define INK_GPU_BEGIN namespace ink::gpu {
#define INK_GPU_END }
INK_GPU_BEGIN
using index_t = std::int64_t;
INK_GPU_END
#endif

INK_GPU_BEGIN

struct FillArgs {
  index_t n;
  float value;
};

struct GeluArgs {
  index_t n;
};

struct SumSquaresArgs {
  index_t n;
};

INK_GPU_END
