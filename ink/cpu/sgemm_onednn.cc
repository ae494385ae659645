#include <dnnl.h>
#include <fmt/format.h>
#include <omp.h>

#include <cstdio>
#include <cstdlib>

#include "ink/cpu/sgemm.h"

namespace ink::cpu {

namespace {

void sgemm(const Sgemm& g) {
  // The number of OpenMP threads is a property of the calling thread: set here, whichever thread that is.
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  const dnnl_status_t status = dnnl_sgemm(g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N', g.m, g.n, g.k, 1.0f, g.a, g.lda,
                                          g.b, g.ldb, g.accumulate ? 1.0f : 0.0f, g.c, g.ldc);
  if (status == dnnl_success) return;
  // Inside the thread pool nothing may be thrown, and an output left unwritten would be trained on.
  std::fprintf(stderr, "ink: dnnl_sgemm failed with status %d for m %lld, n %lld, k %lld\n", static_cast<int>(status),
               static_cast<long long>(g.m), static_cast<long long>(g.n), static_cast<long long>(g.k));
  std::abort();
}

void prepare() {}

std::string description() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace

const SgemmLibrary& onednn() {
  static constexpr SgemmLibrary kLibrary = {"onednn", description, prepare, sgemm};
  return kLibrary;
}

}  // namespace ink::cpu
