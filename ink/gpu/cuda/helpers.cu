#include "ink/gpu/cuda/helpers.h"
#include "ink/gpu/dialect.h"

namespace ink::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostBlocks = 65536;  // of round_to_bf16: each then takes several turns

__global__ void __launch_bounds__(kThreads) round_kernel(gpu::bf16* to, const float* from, int64_t n) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += stride) to[i] = gpu::bf16_of(from[i]);
}

// Four at a time: n is a multiple of 4.
__global__ void __launch_bounds__(kThreads) round4_kernel(gpu::bf16* to, const float* from, int64_t n) {
  const int64_t stride = int64_t{gridDim.x} * kThreads * 4;
  for (int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4; i < n; i += stride) {
    gpu::store4(to, i, gpu::load4(from, i));
  }
}

__global__ void __launch_bounds__(kThreads) read_kernel(const float4* x, int64_t n, float* sink) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  float4 sum = {0, 0, 0, 0};
#pragma unroll 4
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += stride) {
    const float4 v = x[i];
    sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
  }
  if (sum.x + sum.y + sum.z + sum.w == -1) *sink = 1;  // of zeros never; without it nothing would be read
}

__global__ void __launch_bounds__(kThreads)
    update_kernel(float4* param, float4* m, float4* v, const float4* grad, int64_t n) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += stride) {
    const float4 g = grad[i];
    float4 p = param[i], a = m[i], b = v[i];
    a.x += g.x, a.y += g.y, a.z += g.z, a.w += g.w;
    b.x += a.x, b.y += a.y, b.z += a.z, b.w += a.w;
    p.x += b.x, p.y += b.y, p.z += b.z, p.w += b.w;
    m[i] = a, v[i] = b, param[i] = p;
  }
}

}  // namespace

void round_to_bf16(uint16_t* to, const float* from, int64_t n, cudaStream_t stream) {
  const auto aligned = [](const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; };
  const bool fours = n % 4 == 0 && aligned(to, sizeof(ushort4)) && aligned(from, sizeof(float4));
  const int64_t threads = fours ? n / 4 : n;
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  const auto grid = static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
  auto* out = reinterpret_cast<gpu::bf16*>(to);
  if (fours) {
    round4_kernel<<<grid, kThreads, 0, stream>>>(out, from, n);
  } else {
    round_kernel<<<grid, kThreads, 0, stream>>>(out, from, n);
  }
}

void read_all(const float* x, int64_t n, float* sink, int blocks, cudaStream_t stream) {
  read_kernel<<<blocks, kThreads, 0, stream>>>(reinterpret_cast<const float4*>(x), n / 4, sink);
}

void update_all(float* param, float* m, float* v, const float* grad, int64_t n, int blocks, cudaStream_t stream) {
  update_kernel<<<blocks, kThreads, 0, stream>>>(reinterpret_cast<float4*>(param), reinterpret_cast<float4*>(m),
                                                 reinterpret_cast<float4*>(v), reinterpret_cast<const float4*>(grad),
                                                 n / 4);
}

}  // namespace ink::cuda
