// Operations that have no kernels yet.
#include <cstdlib>

#include "ink/gpu/gpu_ops.h"

namespace ink::gpu {

void GpuOps::embed(const Embed&) { std::abort(); }
void GpuOps::embed_backward(const EmbedBackward&) { std::abort(); }
void GpuOps::add_layernorm(const AddLayerNorm&) { std::abort(); }
void GpuOps::add_layernorm_backward(const AddLayerNormBackward&) { std::abort(); }
void GpuOps::gemm(const Gemm&) { std::abort(); }
void GpuOps::attention(const Attention&) { std::abort(); }
void GpuOps::attention_backward(const AttentionBackward&) { std::abort(); }
void GpuOps::cached_attention(const CachedAttention&) { std::abort(); }
void GpuOps::classifier(const Classifier&) { std::abort(); }
void GpuOps::adamw(const AdamW&) { std::abort(); }
void GpuOps::sgd(const Sgd&) { std::abort(); }
bool GpuOps::all_finite(const Tensor&) { std::abort(); }

}  // namespace ink::gpu
