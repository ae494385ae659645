#include "ink/cpu/cpu_ops.h"

#include "ink/ref/ref_ops.h"

namespace ink {

std::unique_ptr<Ops> make_cpu_ops(ThreadPool& /*pool*/) { return std::make_unique<RefOps>(); }

}  // namespace ink
