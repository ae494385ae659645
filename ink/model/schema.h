// The one table of GPT-2's parameters. Allocation, initialisation, weight decay, every file format and the tests
// iterate it. In memory the parameters lie in the table's order, layer-major: the rows before the layers, then each
// layer's rows together, then the rows after.
#pragma once

#include <cstddef>
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
  bool decay;           // weight decay applies (matrices only)
  bool transposed;      // Hugging Face stores the matrix as (in, out)
  bool vocab_rows;      // the first dimension is the padded vocabulary, trimmed to V in files
  bool untied = false;  // only in models whose classifier has weights of its own

  bool in(const Gpt2Config& config) const { return !untied || !config.tied; }
};

std::span<const ParamSpec> gpt2_schema();

// "h.3.attn.c_attn.weight".
std::string param_name(const ParamSpec& spec, int64_t layer);

// Calls visit(spec, layer) for every parameter of a model of these dimensions, in memory order; layer is 0 for those
// outside the layers.
template <class Visit>
void for_each_param(const Gpt2Config& config, const Visit& visit) {
  const std::span<const ParamSpec> schema = gpt2_schema();
  size_t end = 0;  // of the rows that come together: single ones, or all of a layer's
  for (size_t begin = 0; begin < schema.size(); begin = end) {
    end = begin + 1;
    while (schema[begin].per_layer && end < schema.size() && schema[end].per_layer) ++end;
    for (int64_t layer = 0; layer < (schema[begin].per_layer ? config.layers : 1); ++layer) {
      for (const ParamSpec& spec : schema.subspan(begin, end - begin)) {
        if (spec.in(config)) visit(spec, layer);
      }
    }
  }
}

}  // namespace ink
