// The operations of the cpu device, one file each (layernorm.cc, gemm.cc, ...). They take the arguments of ops.h,
// already checked, and the pool that runs their loops. Where a sum is cut depends on the shapes alone, never on the
// number of threads.
#pragma once

#include <string>

#include "ink/base/parallel.h"
#include "ink/cpu/scratch.h"
#include "ink/cpu/sgemm.h"
#include "ink/ops/ops.h"

namespace ink::cpu {

void embed(ThreadPool& pool, const Embed& a);
void embed_backward(ThreadPool& pool, const EmbedBackward& a);
void add_layernorm(ThreadPool& pool, const AddLayerNorm& a);
void add_layernorm_backward(ThreadPool& pool, Scratch& scratch, const AddLayerNormBackward& a);

// What matrix products are computed with: a library, or the kernels here and their working memory.
struct GemmEngine {
  const SgemmLibrary* library;
  DType products;  // what the kernels round their inputs to: f32 (not at all) or bf16
  Scratch a;       // a stage of a, packed for all threads
  ScratchSlots b;  // panels of b, for each of them
  GemmEngine(const SgemmLibrary* by, DType inputs, int threads) : library(by), products(inputs), b(threads) {}
};
void gemm(ThreadPool& pool, GemmEngine& engine, const Gemm& g);
bool has_bf16_instructions();  // that gemm uses for bf16 products
// What gemm is made of besides its own kernels.
void gemm_by_library(ThreadPool& pool, const SgemmLibrary& library, const Gemm& a);
bool has_few_rows(const Gemm& g);
void gemm_few_rows(ThreadPool& pool, GemmEngine& engine, const Gemm& g);   // the same bits, for b too large to pack
void gemm_quantized(ThreadPool& pool, GemmEngine& engine, const Gemm& g);  // b of q8_0, q4_0

void gelu(ThreadPool& pool, const Gelu& a);
void attention(ThreadPool& pool, ScratchSlots& slots, const Attention& a);
void attention_backward(ThreadPool& pool, ScratchSlots& slots, const AttentionBackward& a);
void cached_attention(ThreadPool& pool, Scratch& scratch, ScratchSlots& slots, const CachedAttention& a);
void classifier(ThreadPool& pool, GemmEngine& engine, const Classifier& a);
void adamw(ThreadPool& pool, const AdamW& a);
void sgd(ThreadPool& pool, const Sgd& a);
double sum_squares(ThreadPool& pool, Scratch& scratch, const Tensor& x);
bool all_finite(ThreadPool& pool, const Tensor& x);

// FLOP/s of fused multiply-adds in registers, on all threads, in 80 ms.
double measure_flops(ThreadPool& pool);
// The same for memory, which is best four times as large as the last cache: 0.12 s, and the first touch of it.
Bandwidth measure_bandwidth(ThreadPool& pool, Buffer& memory);

std::string instruction_set();  // the one in use: "AVX2"

// Elements of a task of an elementwise loop: enough to pay for its start, few enough to share out.
constexpr int64_t kGrain = 16384;

}  // namespace ink::cpu
