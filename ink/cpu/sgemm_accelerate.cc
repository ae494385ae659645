#define ACCELERATE_NEW_LAPACK
#include <Accelerate/Accelerate.h>

#include <cstdlib>

#include "ink/cpu/sgemm.h"

namespace ink::cpu {

namespace {

void sgemm(const Sgemm& g) {
  const auto size = [](int64_t value) { return static_cast<int>(value); };
  cblas_sgemm(CblasRowMajor, g.trans_a ? CblasTrans : CblasNoTrans, g.trans_b ? CblasTrans : CblasNoTrans, size(g.m),
              size(g.n), size(g.k), 1.0f, g.a, size(g.lda), g.b, size(g.ldb), g.accumulate ? 1.0f : 0.0f, g.c,
              size(g.ldc));
}

// Read by Accelerate on its first use; the call that sets it directly exists from macOS 15 only.
void prepare() { ::setenv("VECLIB_MAXIMUM_THREADS", "1", 0); }

std::string description() { return "Accelerate"; }

}  // namespace

const SgemmLibrary& accelerate() {
  static constexpr SgemmLibrary kLibrary = {"accelerate", description, prepare, sgemm};
  return kLibrary;
}

}  // namespace ink::cpu
