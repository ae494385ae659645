// Kernels of this device alone: what its products and its measurements need beside the shared ones. Each is put on the
// stream; the caller asks cudaGetLastError().
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ink::cuda {

// to = from, each to the nearest bf16, ties to even.
void round_to_bf16(uint16_t* to, const float* from, int64_t n, cudaStream_t stream);

// Reads x; sink is written only if all of it is one value that the caller does not use.
void read_all(const float* x, int64_t n, float* sink, int blocks, cudaStream_t stream);

// What AdamW does to memory: four arrays of n read, three of them written.
void update_all(float* param, float* m, float* v, const float* grad, int64_t n, int blocks, cudaStream_t stream);

}  // namespace ink::cuda
