// The seam to the matrix library: one product of float matrices on the calling thread. sgemm_*.cc implement it; one of
// them is linked (CMake's INK_BLAS).
#pragma once

#include <cstdint>
#include <string>

namespace ink::cpu {

// c(m,n) = op(a)(m,k) · op(b)(k,n), or c += that. Row-major; lda, ldb, ldc are the distances between the rows of a, b
// and c as they lie in memory. c is not read unless accumulate.
struct Sgemm {
  const float* a;
  const float* b;
  float* c;
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool trans_a = false, trans_b = false, accumulate = false;
};

// Uses no threads of its own, may be called by several threads at once, and gives the same bits on each of them.
void sgemm(const Sgemm& g);

// Once, before the first product: asks the library to keep to the calling thread.
void prepare_sgemm();

std::string sgemm_library();  // "OpenBLAS (Haswell)"

}  // namespace ink::cpu
