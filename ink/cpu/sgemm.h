// The seam to matrix libraries, which the devices cpu-NAME compute their products with: one product of float matrices
// on the calling thread. Each sgemm_*.cc implements it for a library; CMake's INK_BLAS says which are linked.
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

struct SgemmLibrary {
  const char* name;              // the device is cpu-NAME
  std::string (*description)();  // "OpenBLAS (Haswell)"
  // Once, before the first product: asks the library to keep to the calling thread.
  void (*prepare)();
  // Uses no threads of its own, may be called by several threads at once, and gives the same bits on each of them.
  void (*sgemm)(const Sgemm& g);
};

// Only those that are linked are defined.
const SgemmLibrary& onednn();
const SgemmLibrary& openblas();

}  // namespace ink::cpu
