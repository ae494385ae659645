// Everything that a user does with a model that lies in a file: sizes, then the weights, then the tokenizer.
#pragma once

#include <vector>

#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_use.h"
#include "ink/format/model_io.h"

namespace ink::fuzz {

inline void read_model(const fs::path& path) {
  const std::unique_ptr<ModelSource> source = open_model(path);
  expect(!source->description().empty(), "a model is described");
  std::vector<float> values;
  for_each_param(source->config(), [&](const ParamSpec& spec, int64_t layer) {
    const StoredTensor tensor = source->tensor(spec, layer);
    expect(bytes_of(tensor.dtype, tensor.shape.numel()) == tensor.data.size(), "a tensor has the bytes of its shape");
    values.resize(static_cast<size_t>(tensor.shape.numel()));
    read_matrix(tensor, values);
    read_elements(tensor, 0, values);
    source->drop(tensor);
  });
  lossless_type(*source);
  if (const auto tokenizer = source->tokenizer()) use_tokenizer(*tokenizer);
}

}  // namespace ink::fuzz
