// Everything that a user does with a model that lies in a file: sizes, then the weights.
#pragma once

#include "fuzz/fuzz.h"
#include "ink/format/model_io.h"
#include "ink/ref/ref_ops.h"

namespace ink::fuzz {

inline void read_model(const fs::path& path) {
  static RefOps ops(DType::f32);
  const Gpt2Config config = read_model_config(path);
  Gpt2 model(config, {.batch = 1, .context = 1}, ops);
  model.allocate();
  load_weights(path, model);
}

}  // namespace ink::fuzz
