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

enum { kSimd = 32 };  // threads of a simd group (a warp)

struct FillArgs {
  index_t n;
  float value;
};

struct CastArgs {
  index_t n;
  unsigned int seed;
};

struct GeluArgs {
  index_t n;
};

struct SumSquaresArgs {
  index_t n;
};

// Products (gemm.k.h): a block's square of out, and how far along k it goes at a time, and adds before it adds to the
// whole.
enum { kGemmTile = 64, kGemmDepth = 16, kGemmGroup = 32 };
enum { kGemvRows = 4, kGemvCols = 8 };  // of out that a block of the kernels for few rows computes

// As Gemm of ops.h. Flags are 0 or 1.
struct GemmArgs {
  int m, n, k;
  int blocks_n;  // squares side by side along n
  int slice_k;   // of a gradient's product, a multiple of kGemmDepth: block y sums one slice
  int trans_a, trans_b;
  int accumulate, has_bias, has_gelu_in, has_dgelu_in;
  int round;                 // both operands to bf16
  int aligned_a, aligned_b;  // whether rows can be read by four elements
  int type_b;                // where the kernel takes several: one of kTypeF16, ... below
};

struct QuantizeArgs {
  index_t n;
  int aligned;
};

struct ColumnSumsArgs {
  int rows, cols, slice_rows;
};

struct SumSlicesArgs {
  index_t n;
  int slices, accumulate;
};

// Types of weights that a kernel takes as bytes: ink::DType's.
enum { kTypeF32 = 0, kTypeF16 = 1, kTypeBf16 = 2, kTypeQ8 = 4, kTypeQ4 = 5 };

// aligned, here and below: rows, or all elements where there are none, can be read and written by four.
struct EmbedArgs {
  int rows, time, cols;
  int type;  // of wte, where the kernel takes any
  int has_positions, aligned;
};

struct EmbedBackwardArgs {
  int rows, time, cols;
  int aligned;
};

struct SortTokensArgs {
  int rows;
  int run;  // rows that are sorted already
};

// has_in: of the forward pass; of the backward one, dresidual. has_sum, has_out: of the one that has them.
struct LayerNormArgs {
  int rows, cols;
  float eps;
  int has_in, has_sum, has_out, aligned;
};

struct LayerNormParamsArgs {
  int rows, cols;
  int strip;  // rows of a strip
  int aligned;
};

struct ClassifierArgs {
  int vocab, padded;
  float dloss;
  int gradient, aligned;
};

// m_scale = 1 / (1 - beta1^step), v_scale alike.
struct AdamWArgs {
  index_t n;
  float lr, beta1, beta2, eps, weight_decay, grad_scale, m_scale, v_scale;
  int aligned;
};

struct SgdArgs {
  index_t n;
  float lr, momentum, weight_decay, grad_scale;
  int aligned;
};

struct CountNotFiniteArgs {
  index_t n;
};

struct AddPartialsArgs {
  int rows, cols;
  int stride;  // from row to row
};

enum { kAttentionTile = 64 };         // queries, keys and channels that blocks of attention compute with
enum { kCachedAttentionSize = 256 };  // the largest head of cached attention

struct AttentionArgs {
  int batch, time, heads, size;
  int aligned;
  float scale;
};

struct CachedAttentionArgs {
  int rows, heads, size, table_columns;
  float scale;
};

INK_GPU_END
