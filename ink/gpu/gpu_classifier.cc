// The classifier in chunks of rows: logits, their losses and gradients in place, then the two products with those.
#include <algorithm>
#include <cassert>

#include "ink/gpu/gpu_ops.h"
#include "ink/ops/check_args.h"

namespace ink::gpu {

void GpuOps::classifier(const Classifier& a) {
  const DType real = a.x.dtype;
  assert(fits(a, on_device(real)));
  const int64_t rows = a.x.rows(), padded = a.weight.rows();
  const int64_t chunk = a.logits.rows();
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    const Tensor x = a.x.slice_rows(begin, count);
    const Tensor logits = a.logits.slice_rows(0, count);
    const auto of_chunk = [&](const Tensor& t) { return Tensor(t.data + bytes_of(t.dtype, begin), t.dtype, {count}); };
    gemm({.a = x, .b = a.weight, .out = logits, .trans_b = true});
    launch(Kernel::classifier, real, {.x = to_int(count)}, {of_chunk(a.losses), logits, of_chunk(a.targets)},
           ClassifierArgs{.vocab = to_int(a.vocab),
                          .padded = to_int(padded),
                          .dloss = a.dloss,
                          .gradient = a.dx ? 1 : 0,
                          .aligned = aligned(padded, {logits})});
    if (!a.dx) continue;
    gemm({.a = logits, .b = a.weight, .out = a.dx.slice_rows(begin, count)});
    gemm({.a = logits, .b = x, .out = a.dweight, .trans_a = true, .accumulate = a.accumulate || begin > 0});
  }
}

}  // namespace ink::gpu
