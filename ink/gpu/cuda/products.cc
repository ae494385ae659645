#include "ink/gpu/cuda/products.h"

#include <fmt/format.h>

#include <utility>

#include "ink/gpu/cuda/check_cuda.h"
#include "ink/gpu/cuda/helpers.h"
#include "ink/gpu/gpu.h"
#include "ink/ops/check_args.h"

namespace ink::cuda {

namespace {

// What NVIDIA advises for Hopper ("cublasSetWorkspace"); older GPUs need less.
constexpr size_t kWorkspace = size_t{32} << 20;
constexpr uint32_t kVector = 16;          // bytes that an epilogue moves at once
constexpr uint32_t kMostAlignment = 256;  // the library asks for no more

cudaDataType type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  uint32_t alignment = kMostAlignment;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

bool is_aligned(const Tensor& t) { return !t || alignment_of(t.data) >= kVector; }

// The library's epilogue for ours, if it has it in one go and at these addresses.
std::optional<cublasLtEpilogue_t> epilogue_of(const Gemm& a) {
  const bool gelu = static_cast<bool>(a.gelu_in), dgelu = static_cast<bool>(a.dgelu_in);
  if (!a.bias && !gelu && !dgelu) return CUBLASLT_EPILOGUE_DEFAULT;
  for (const Tensor& t : {a.bias, a.gelu_in, a.dgelu_in}) {
    if (t && t.dtype != a.out.dtype) return {};
  }
  if (!is_aligned(a.bias) || !is_aligned(a.gelu_in) || !is_aligned(a.dgelu_in) || !is_aligned(a.out)) return {};
  if (!gelu && !dgelu) return CUBLASLT_EPILOGUE_BIAS;
  // The rows of what GELU was given must be a multiple of 8 elements; for 16 bits that is the 16 bytes of the rest.
  if (a.out.dtype != DType::bf16 || a.out.cols() % 8 != 0 || a.accumulate) return {};
  if (dgelu) return a.bias ? std::nullopt : std::optional(CUBLASLT_EPILOGUE_DGELU);
  const bool keep = a.gelu_in.data != a.out.data;  // otherwise nobody reads it again
  if (a.bias) return keep ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_BIAS;
  return keep ? CUBLASLT_EPILOGUE_GELU_AUX : CUBLASLT_EPILOGUE_GELU;
}

bool has_aux(cublasLtEpilogue_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_GELU_AUX || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS ||
         epilogue == CUBLASLT_EPILOGUE_DGELU;
}

template <class T>
void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), "describing a product");
}

template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
               "saying what products are wanted");
}

// Of a matrix that the library sees as rows x cols, or transposes to that.
void set_layout(cublasLtMatrixLayout_t layout, DType dtype, bool transposed, int64_t rows, int64_t cols) {
  if (transposed) std::swap(rows, cols);
  check_cublas(
      cublasLtMatrixLayoutInit(layout, type_of(dtype), static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), rows),
      "describing a matrix");
}

}  // namespace

Products::Products(cudaStream_t stream) : stream_(stream) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, kWorkspace), "working memory of matrix products");
  workspace_.reset(memory);
  check_cublas(cublasLtCreate(&library_), "starting cuBLASLt");
}

Products::~Products() { cublasLtDestroy(library_); }

std::string Products::version() {
  const size_t v = cublasLtGetVersion();  // 130100 is 13.1.0
  return fmt::format("cuBLASLt {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

// t, or its elements rounded to bf16, in memory that the next product may overwrite: the stream keeps the order.
Tensor Products::rounded(const Tensor& t, int slot) {
  if (t.dtype == DType::bf16) return t;
  const size_t bytes = bytes_of(DType::bf16, t.numel());
  if (rounded_bytes_[slot] < bytes) {
    check_cuda(cudaStreamSynchronize(stream_), "waiting for products that use the old working memory");
    rounded_bytes_[slot] = 0;
    rounded_[slot].reset();
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "working memory to round what products multiply");
    rounded_[slot].reset(memory);
    rounded_bytes_[slot] = bytes;
  }
  auto* to = static_cast<uint16_t*>(rounded_[slot].get());
  round_to_bf16(to, t.f32(), t.numel(), stream_);
  check_cuda(cudaGetLastError(), "launching the rounding of what products multiply");
  return {to, DType::bf16, t.shape};
}

bool Products::gemm(const Gemm& g, DType products) {
  if (g.dbias || !is_real(g.a.dtype) || !is_real(g.b.dtype) || !is_real(g.out.dtype)) return false;
  const DType in = products == DType::bf16 ? DType::bf16 : g.a.dtype;
  if (products != DType::bf16 && g.a.dtype != g.b.dtype) return false;
  if (in == DType::f32 && g.out.dtype != DType::f32) return false;
  // To round all weights for a few rows is several times the product's work; our kernel rounds what it reads.
  if (g.b.dtype != in && dims_of(g).m <= gpu::kFewRows && !g.trans_a && g.trans_b && !g.accumulate && !g.dgelu_in)
    return false;
  const std::optional<cublasLtEpilogue_t> epilogue = epilogue_of(g);
  if (!epilogue) return false;

  // Stored by rows, out is what the library calls outᵀ: outᵀ = op(b)ᵀ · op(a)ᵀ.
  const GemmDims d = dims_of(g);
  Key key = {.m = d.n,
             .n = d.m,
             .k = d.k,
             .trans_a = g.trans_b,
             .trans_b = g.trans_a,
             .accumulate = g.accumulate,
             .in = in,
             .out = g.out.dtype,
             .epilogue = *epilogue};
  // What is rounded lies where cudaMalloc says.
  key.a_alignment = g.b.dtype == in ? alignment_of(g.b.data) : kMostAlignment;
  key.b_alignment = g.a.dtype == in ? alignment_of(g.a.data) : kMostAlignment;
  key.out_alignment = alignment_of(g.out.data);
  const void* bias = g.bias.data;
  void* aux = !has_aux(*epilogue) ? nullptr : g.gelu_in ? g.gelu_in.data : g.dgelu_in.data;
  key.bias_alignment = alignment_of(bias);
  key.aux_alignment = alignment_of(aux);
  Plan& plan = plan_of(key, bias, aux);
  if (!plan.algorithm) return false;

  const Tensor a = in == DType::bf16 ? rounded(g.b, 0) : g.b;
  const Tensor b = in == DType::bf16 ? rounded(g.a, 1) : g.a;
  if (bias != nullptr) set(&plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  if (aux != nullptr) set(&plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
  const float alpha = 1, beta = g.accumulate ? 1.0f : 0.0f;
  check_cublas(
      cublasLtMatmul(library_, &plan.product, &alpha, a.data, &plan.a, b.data, &plan.b, &beta, g.out.data, &plan.out,
                     g.out.data, &plan.out, &*plan.algorithm, workspace_.get(), kWorkspace, stream_),
      "a matrix product");
  return true;
}

Products::Plan& Products::plan_of(const Key& key, const void* bias, const void* aux) {
  const auto [at, fresh] = plans_.try_emplace(key);
  if (fresh) make(at->second, key, bias, aux);
  return at->second;
}

void Products::make(Plan& plan, const Key& key, const void* bias, const void* aux) {
  check_cublas(cublasLtMatmulDescInit(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  set(&plan.product, CUBLASLT_MATMUL_DESC_TRANSA, int32_t{key.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N});
  set(&plan.product, CUBLASLT_MATMUL_DESC_TRANSB, int32_t{key.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N});
  set(&plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(key.epilogue));
  // From the pointers the library learns what alignment it can count on.
  if (bias != nullptr) {
    set(&plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    set(&plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t{type_of(key.out)});
  }
  if (aux != nullptr) {
    set(&plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
    set(&plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.m);
    set(&plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, int32_t{type_of(key.out)});
  }
  set_layout(&plan.a, key.in, key.trans_a, key.m, key.k);
  set_layout(&plan.b, key.in, key.trans_b, key.k, key.n);
  set_layout(&plan.out, key.out, false, key.m, key.n);

  cublasLtMatmulPreferenceOpaque_t preference;
  check_cublas(cublasLtMatmulPreferenceInit(&preference), "saying what products are wanted");
  set(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspace});
  // Parts of a sum are kept as f32, whatever out is, and added in one order.
  set(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.a_alignment);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.b_alignment);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.out_alignment);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.out_alignment);

  cublasLtMatmulHeuristicResult_t best = {};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(library_, &plan.product, &plan.a, &plan.b, &plan.out,
                                                               &plan.out, &preference, 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return;
  check_cublas(status, "choosing an algorithm for a product");
  if (found > 0 && best.state == CUBLAS_STATUS_SUCCESS) plan.algorithm = best.algo;
}

}  // namespace ink::cuda
