#include "ink/model/schema.h"

#include <fmt/format.h>

#include <array>

namespace ink {

namespace {

using C = const Gpt2Config&;

Shape vocab_channels(C c) { return {c.padded_vocab(), c.channels}; }
Shape context_channels(C c) { return {c.context, c.channels}; }
Shape channels1(C c) { return {c.channels}; }
Shape channels3(C c) { return {3 * c.channels}; }
Shape channels4(C c) { return {4 * c.channels}; }
Shape qkv(C c) { return {3 * c.channels, c.channels}; }
Shape square(C c) { return {c.channels, c.channels}; }
Shape up(C c) { return {4 * c.channels, c.channels}; }
Shape down(C c) { return {c.channels, 4 * c.channels}; }

// The order is also the order in which PyTorch's GPT-2 and llm.c draw the initial weights.
// name, per_layer, shape, init, decay, transposed, vocab_rows, untied
constexpr std::array kSchema = {
    ParamSpec{"wte.weight", false, vocab_channels, Init::normal, true, false, true},
    ParamSpec{"wpe.weight", false, context_channels, Init::normal, true, false, false},
    ParamSpec{"h.{}.ln_1.weight", true, channels1, Init::ones, false, false, false},
    ParamSpec{"h.{}.ln_1.bias", true, channels1, Init::zeros, false, false, false},
    ParamSpec{"h.{}.attn.c_attn.weight", true, qkv, Init::normal, true, true, false},
    ParamSpec{"h.{}.attn.c_attn.bias", true, channels3, Init::zeros, false, false, false},
    ParamSpec{"h.{}.attn.c_proj.weight", true, square, Init::normal_residual, true, true, false},
    ParamSpec{"h.{}.attn.c_proj.bias", true, channels1, Init::zeros, false, false, false},
    ParamSpec{"h.{}.ln_2.weight", true, channels1, Init::ones, false, false, false},
    ParamSpec{"h.{}.ln_2.bias", true, channels1, Init::zeros, false, false, false},
    ParamSpec{"h.{}.mlp.c_fc.weight", true, up, Init::normal, true, true, false},
    ParamSpec{"h.{}.mlp.c_fc.bias", true, channels4, Init::zeros, false, false, false},
    ParamSpec{"h.{}.mlp.c_proj.weight", true, down, Init::normal_residual, true, true, false},
    ParamSpec{"h.{}.mlp.c_proj.bias", true, channels1, Init::zeros, false, false, false},
    ParamSpec{"ln_f.weight", false, channels1, Init::ones, false, false, false},
    ParamSpec{"ln_f.bias", false, channels1, Init::zeros, false, false, false},
    ParamSpec{"lm_head.weight", false, vocab_channels, Init::normal, true, false, true, true},
};

}  // namespace

std::span<const ParamSpec> gpt2_schema() { return kSchema; }

std::string param_name(const ParamSpec& spec, int64_t layer) {
  std::string name(spec.name);
  if (spec.per_layer) name.replace(name.find("{}"), 2, std::to_string(layer));
  return name;
}

}  // namespace ink
