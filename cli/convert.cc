// ink convert: a model from one format to another.
#include "ink/train/convert.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"

namespace ink {

void add_convert_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("convert", "Write a model in another format");
  struct ConvertCommand {
    std::string in, out, dtype;
    bool bf16 = false;
  };
  const auto c = std::make_shared<ConvertCommand>();
  command.add_option("in", c->in, "A run folder, a model folder, an llm.c .bin file or a GGUF file")->required();
  command
      .add_option("out", c->out, "NAME.bin for llm.c's format, NAME.gguf, NAME.onnx, else a Hugging Face model folder")
      ->required();
  CLI::Option* dtype = command.add_option(
      "--dtype", c->dtype, "Round the weights to f32, f16 or bf16; by default nothing is lost that OUT can hold");
  dtype->check(CLI::IsMember({"f32", "f16", "bf16"}));
  command.add_flag("--bf16", c->bf16, "The same as --dtype bf16")->excludes(dtype);
  command.callback([c] {
    std::optional<DType> type;
    if (c->bf16) type = DType::bf16;
    if (!c->dtype.empty()) type = dtype_from_name(c->dtype);
    fmt::print("{}\n", convert_model(c->in, c->out, type));
  });
}

}  // namespace ink
