// What the device can do at most, measured: products as fast as the library's large ones, memory as fast as it is read.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <optional>

#include "ink/gpu/cuda/products.h"
#include "ink/ops/ops.h"

namespace ink::cuda {

// Each is measured when first asked for, and kept: 0 if the memory for it was not free, as in a run that fills the
// card.
class Peaks {
 public:
  // Of products of that type.
  Peaks(cudaStream_t stream, Products& library, DType products)
      : stream_(stream), library_(library), products_(products) {}

  double flops();
  Bandwidth bandwidth();

 private:
  double measure_flops();
  Bandwidth measure_bandwidth();
  double fastest(int repeats, const std::function<void()>& work);  // seconds of one

  cudaStream_t stream_;
  Products& library_;
  DType products_;
  std::optional<double> flops_;
  std::optional<Bandwidth> bandwidth_;
};

}  // namespace ink::cuda
