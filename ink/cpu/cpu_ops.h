// The "cpu" device: vector instructions and threads; and its variants "cpu-NAME", whose matrix products are a
// library's.
#pragma once

#include <memory>

#include "ink/base/parallel.h"
#include "ink/cpu/sgemm.h"
#include "ink/ops/ops.h"

namespace ink {

// pool runs the loops and must outlive the Ops. Without a library, matrix products are computed by the kernels here.
// products: f32, or bf16 to round what is multiplied, which libraries do not.
std::unique_ptr<Ops> make_cpu_ops(ThreadPool& pool, DType products, const cpu::SgemmLibrary* library = nullptr);

}  // namespace ink
