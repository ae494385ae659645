#include <dnnl.h>
#include <fmt/format.h>
#include <omp.h>

#include <cassert>

#include "ink/cpu/sgemm.h"

namespace ink::cpu {

void sgemm(const Sgemm& g) {
  // The number of OpenMP threads is a property of the calling thread: set here, whichever thread that is.
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  [[maybe_unused]] const dnnl_status_t status =
      dnnl_sgemm(g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N', g.m, g.n, g.k, 1.0f, g.a, g.lda, g.b, g.ldb,
                 g.accumulate ? 1.0f : 0.0f, g.c, g.ldc);
  assert(status == dnnl_success);
}

void prepare_sgemm() {}

std::string sgemm_library() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace ink::cpu
