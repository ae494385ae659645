// The functions of Apple's Accelerate that ink/accelerate calls, with the types of Apple's headers, so that the tests
// can run on other systems what runs on Apple's. shim.cc computes what Apple documents, slowly. Never linked into the
// program.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

extern "C" {

// vDSP: strides count elements; scalars come by address.
typedef unsigned long vDSP_Length;  // NOLINT: as Apple has it
typedef long vDSP_Stride;           // NOLINT

void vDSP_vadd(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_vmul(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic, vDSP_Length n);
// c = a / b: b comes first!
void vDSP_vdiv(const float* b, vDSP_Stride ib, const float* a, vDSP_Stride ia, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_vsq(const float* a, vDSP_Stride ia, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_vsadd(const float* a, vDSP_Stride ia, const float* b, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_vsmul(const float* a, vDSP_Stride ia, const float* b, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_svdiv(const float* a, const float* b, vDSP_Stride ib, float* c, vDSP_Stride ic, vDSP_Length n);
void vDSP_vsmsa(const float* a, vDSP_Stride ia, const float* b, const float* c, float* d, vDSP_Stride id,
                vDSP_Length n);
void vDSP_vsma(const float* a, vDSP_Stride ia, const float* b, const float* c, vDSP_Stride ic, float* d, vDSP_Stride id,
               vDSP_Length n);
void vDSP_vma(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, const float* c, vDSP_Stride ic, float* d,
              vDSP_Stride id, vDSP_Length n);
void vDSP_vsmsma(const float* a, vDSP_Stride ia, const float* b, const float* c, vDSP_Stride ic, const float* d,
                 float* e, vDSP_Stride ie, vDSP_Length n);
void vDSP_vclip(const float* a, vDSP_Stride ia, const float* low, const float* high, float* d, vDSP_Stride id,
                vDSP_Length n);
void vDSP_sve(const float* a, vDSP_Stride ia, float* c, vDSP_Length n);
void vDSP_meanv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n);
void vDSP_measqv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n);
void vDSP_maxv(const float* a, vDSP_Stride ia, float* c, vDSP_Length n);
void vDSP_dotpr(const float* a, vDSP_Stride ia, const float* b, vDSP_Stride ib, float* c, vDSP_Length n);

// vForce: the output first, the count by address.
void vvexpf(float* y, const float* x, const int* n);
void vvsqrtf(float* y, const float* x, const int* n);

// BLAS, as ACCELERATE_NEW_LAPACK and ACCELERATE_LAPACK_ILP64 declare it.
#if defined(ACCELERATE_NEW_LAPACK) && defined(ACCELERATE_LAPACK_ILP64)
typedef long __LAPACK_int;  // NOLINT
enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112, CblasConjTrans = 113 };
void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE trans_a, enum CBLAS_TRANSPOSE trans_b, __LAPACK_int m,
                 __LAPACK_int n, __LAPACK_int k, float alpha, const float* a, __LAPACK_int lda, const float* b,
                 __LAPACK_int ldb, float beta, float* c, __LAPACK_int ldc);
#endif

// BNNS.
typedef enum : uint32_t {
  BNNSDataTypeFloat16 = 0x10000 | 16,
  BNNSDataTypeFloat32 = 0x10000 | 32,
  BNNSDataTypeBFloat16 = 0x10000 | 0x8000 | 16,
} BNNSDataType;
typedef enum : uint32_t {
  BNNSDataLayoutVector = 0x10000,
  BNNSDataLayout2DLastMajor = 0x28000,
  BNNSDataLayout2DFirstMajor = 0x28001,
} BNNSDataLayout;
typedef enum : uint32_t { BNNSNDArrayFlagBackpropSet = 0 } BNNSNDArrayFlags;
typedef enum : uint32_t {
  BNNSActivationFunctionIdentity = 0,
  BNNSActivationFunctionTanh = 4,
  BNNSActivationFunctionGELUApproximation = 12,
} BNNSActivationFunction;

typedef struct {
  BNNSActivationFunction function;
  float alpha, beta;
  int32_t iscale, ioffset, ishift;
  const int32_t* iscale_per_channel;
  const int32_t* ioffset_per_channel;
  const int32_t* ishift_per_channel;
} BNNSActivation;

typedef struct {
  BNNSNDArrayFlags flags;
  BNNSDataLayout layout;
  size_t size[8];
  size_t stride[8];
  void* data;
  BNNSDataType data_type;
  void* table_data;
  BNNSDataType table_data_type;
  float data_scale, data_bias;
} BNNSNDArrayDescriptor;

typedef struct {
  BNNSNDArrayDescriptor i_desc, o_desc;
  BNNSActivation activation;
  uint32_t axis_flags;
} BNNSLayerParametersActivation;

typedef struct {
  uint32_t flags;
  size_t n_threads;
  int (*alloc_memory)(void** memory, size_t alignment, size_t size);
  void (*free_memory)(void* memory);
} BNNSFilterParameters;

ssize_t BNNSMatMulWorkspaceSize(bool trans_a, bool trans_b, float alpha, const BNNSNDArrayDescriptor* a,
                                const BNNSNDArrayDescriptor* b, const BNNSNDArrayDescriptor* out,
                                const BNNSFilterParameters* parameters);
int BNNSMatMul(bool trans_a, bool trans_b, float alpha, const BNNSNDArrayDescriptor* a, const BNNSNDArrayDescriptor* b,
               const BNNSNDArrayDescriptor* out, void* workspace, const BNNSFilterParameters* parameters);
int BNNSDirectApplyActivationBatch(const BNNSLayerParametersActivation* layer, const BNNSFilterParameters* parameters,
                                   size_t batch_size, size_t in_stride, size_t out_stride);

}  // extern "C"
