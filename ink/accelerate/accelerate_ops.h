// The "accelerate" device of Apple's processors: matrix products by their matrix unit, which only Accelerate's BLAS and
// BNNS reach, and layer norm, GELU, the classifier's softmax and the optimizers by vDSP and vForce. What these have
// nothing for (embeddings, attention, blocks of quantized weights, sums of squares) is the cpu device's.
#pragma once

#include <memory>

#include "ink/accelerate/choose.h"
#include "ink/base/parallel.h"
#include "ink/ops/ops.h"

namespace ink {

// pool runs the loops and must outlive the Ops; products run on Accelerate's own threads, one at a time. products: f32,
// or bf16 to round what is multiplied.
// uses: what Accelerate does; cpu does the rest.
std::unique_ptr<Ops> make_accelerate_ops(ThreadPool& pool, DType products,
                                         accelerate::Uses uses = accelerate::Uses().set());

// Each operation on the faster of cpu and Accelerate, as measured when this machine was first asked. Its name is what
// was chosen, a device of its own: "cpu", "accelerate" or "accelerate:gemm,adamw".
std::unique_ptr<Ops> make_faster_ops(ThreadPool& pool, DType products);

}  // namespace ink
