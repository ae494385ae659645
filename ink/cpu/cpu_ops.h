// The "cpu" device: vector instructions and threads.
#pragma once

#include <memory>

#include "ink/base/parallel.h"
#include "ink/ops/ops.h"

namespace ink {

// pool runs the loops and must outlive the Ops.
std::unique_ptr<Ops> make_cpu_ops(ThreadPool& pool);

}  // namespace ink
