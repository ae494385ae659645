// Errors of CUDA and cuBLASLt as Error, with the library's own words.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <string_view>

#include "ink/base/check.h"

namespace ink::cuda {

// what says what was asked for: "launching kernel gelu".
inline void check_cuda(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that the next call can do without is not to be told twice
  fail("cuda: {}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

inline void check_cublas(cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("cuda: {}: {} ({})", what, cublasLtGetStatusString(status), cublasLtGetStatusName(status));
}

}  // namespace ink::cuda
