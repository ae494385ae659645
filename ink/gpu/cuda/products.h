// Matrix products by cuBLASLt. What the library says is best for a product is asked once and kept: a plan. The same
// product always gets the same plan, and so the same bits.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "ink/ops/ops.h"
#include "ink/tensor/tensor.h"

namespace ink::cuda {

class Products {
 public:
  // On the current device. stream must outlive this.
  explicit Products(cudaStream_t stream);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // Puts the product on the stream; false, and nothing is done, if the library has none like it in one go. That is so
  // - for operands that are not both f32 or both bf16, and for weights of inference other than these,
  // - for GELU and its gradient into f32: what the library computes there is made for 16 bits,
  // - for a few rows with weights that would have to be rounded,
  // - where an epilogue's tensors lie at addresses, or have rows, that are no multiple of 16 bytes.
  // f32 operands are multiplied as f32, never as TF32; with bf16 as products they are rounded first. Sums are f32.
  bool gemm(const Gemm& a, DType products);

  static std::string version();  // "cuBLASLt 13.1.0"

 private:
  // What the library's choice depends on. The library's matrices are stored by columns: its A is our b, its m our n.
  struct Key {
    int64_t m = 0, n = 0, k = 0;
    bool trans_a = false, trans_b = false, accumulate = false;
    DType in = DType::f32, out = DType::f32;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    // Of addresses, in bytes.
    uint32_t a_alignment = 0, b_alignment = 0, out_alignment = 0, bias_alignment = 0, aux_alignment = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Plan {
    cublasLtMatmulDescOpaque_t product = {};
    cublasLtMatrixLayoutOpaque_t a = {}, b = {}, out = {};
    std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: the library has none
  };
  struct Free {
    void operator()(void* p) const { cudaFree(p); }
  };
  using Memory = std::unique_ptr<void, Free>;

  Plan& plan_of(const Key& key, const void* bias, const void* aux);
  void make(Plan& plan, const Key& key, const void* bias, const void* aux);
  Tensor rounded(const Tensor& t, int slot);

  cudaStream_t stream_;
  cublasLtHandle_t library_ = nullptr;
  std::map<Key, Plan> plans_;
  Memory workspace_;
  Memory rounded_[2];  // operands as bf16; grown when first needed
  size_t rounded_bytes_[2] = {0, 0};
};

}  // namespace ink::cuda
