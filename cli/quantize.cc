// ink quantize: a model with coarser weights.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "ink/train/convert.h"

namespace ink {

void add_quantize_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("quantize", "Write a model with coarser weights, for inference");
  struct QuantizeCommand {
    std::string in, out, type, embedding;
  };
  const auto c = std::make_shared<QuantizeCommand>();
  command.add_option("in", c->in, "A run folder, a model folder, an llm.c .bin file or a GGUF file")->required();
  command.add_option("out", c->out, "NAME.gguf; for types without blocks also as ink convert's")->required();
  command.add_option("--type", c->type, "Of the layers' matrices: q8_0, q4_0, f16, bf16 or f32")->required();
  command.add_option("--embedding-type", c->embedding,
                     "Of the token embedding and the classifier; by default q8_0 for q4_0, else the same");
  command.callback([c] {
    QuantizeOptions options;
    options.type = dtype_from_name(c->type);
    if (!c->embedding.empty()) options.embedding = dtype_from_name(c->embedding);
    fmt::print("{}", quantize_model(c->in, c->out, options));
  });
}

}  // namespace ink
