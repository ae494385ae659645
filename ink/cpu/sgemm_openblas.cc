#include <cblas.h>

#include "ink/cpu/sgemm.h"

namespace ink::cpu {

namespace {

void sgemm(const Sgemm& g) {
  const auto size = [](int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, g.trans_a ? CblasTrans : CblasNoTrans, g.trans_b ? CblasTrans : CblasNoTrans, size(g.m),
              size(g.n), size(g.k), 1.0f, g.a, size(g.lda), g.b, size(g.ldb), g.accumulate ? 1.0f : 0.0f, g.c,
              size(g.ldc));
}

void prepare() { openblas_set_num_threads(1); }

std::string description() { return std::string("OpenBLAS (") + openblas_get_corename() + ")"; }

}  // namespace

const SgemmLibrary& openblas() {
  static constexpr SgemmLibrary kLibrary = {"openblas", description, prepare, sgemm};
  return kLibrary;
}

}  // namespace ink::cpu
