// ink convert: a model from one format to another.
#include "ink/train/convert.h"

#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/options.h"

namespace ink {

void add_convert_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("convert", "Write a model in another format");
  struct ConvertCommand {
    std::string in, out;
    bool bf16 = false;
    DeviceOptions device;
  };
  const auto c = std::make_shared<ConvertCommand>();
  command.add_option("in", c->in, "A run folder, a model folder or an llm.c .bin file")->required();
  command.add_option("out", c->out, "NAME.bin for llm.c's format, else a Hugging Face model folder")->required();
  command.add_flag("--bf16", c->bf16, "llm.c's version 5: weights rounded to bfloat16");
  command.callback([c] {
    Device device(c->device);
    fmt::print("{}\n", convert_model(c->in, c->out, c->bf16, *device.ops));
  });
}

}  // namespace ink
