// The one table of GPT-2's parameters. Allocation, initialisation, weight decay, every file format and the tests
// iterate it. In memory the parameters lie in the table's order, layer-major: the rows before the layers, then each
// layer's rows together, then the rows after.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ink/model/config.h"
#include "ink/tensor/tensor.h"

namespace ink {

enum class Init : uint8_t {
  zeros,
  ones,
  normal,           // N(0, 0.02²)
  normal_residual,  // N(0, (0.02 / √(2L))²): projections back into the residual stream
};

struct ParamSpec {
  std::string_view name;  // Hugging Face's name without "transformer."; "{}" stands for the layer
  bool per_layer;
  Shape (*shape)(const Gpt2Config&);  // in memory: matrices are (out, in), the embedding has Vp rows
  Init init;
  bool decay;       // weight decay applies (matrices only)
  bool transposed;  // Hugging Face stores the matrix as (in, out)
  bool vocab_rows;  // the first dimension is the padded vocabulary, trimmed to V in files
};

std::span<const ParamSpec> gpt2_schema();

// "h.3.attn.c_attn.weight".
std::string param_name(const ParamSpec& spec, int64_t layer);

}  // namespace ink
