#include "ink/gpu/gpu.h"

#include <iterator>

namespace ink::gpu {

namespace {

struct Row {
  std::string_view name;
  int threads;
};

constexpr Row kRows[] = {
#define KERNEL_ROW(name, threads) {#name, threads},
#include "ink/gpu/kernels.def"
#undef KERNEL_ROW
};

const Row& row_of(Kernel kernel) { return kRows[static_cast<size_t>(kernel)]; }

}  // namespace

std::string_view name_of(Kernel kernel) { return row_of(kernel).name; }
int threads_of(Kernel kernel) { return row_of(kernel).threads; }
int kernels() { return static_cast<int>(std::size(kRows)); }

}  // namespace ink::gpu
