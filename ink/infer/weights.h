// A model's parameters made ready for inference.
#pragma once

#include <memory>

#include "ink/format/model_source.h"
#include "ink/model/gpt2_inference.h"

namespace ink {

// Where the device reads the host's memory, matrices and the token embedding stay where they are stored, in the type
// they are stored in: a mapped file is not copied. So do those in a mapped file where the device can wrap its pages
// (Ops::wrap). Elsewhere, or where they are not aligned, they are copied to the device. Vectors and the position
// embedding become f32. The result keeps the source alive. Throws Error as the source's reader does, or when there is
// no memory.
InferenceWeights load_inference_weights(const std::shared_ptr<const ModelSource>& source, Ops& ops);

}  // namespace ink
