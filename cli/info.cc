// ink info: what a file or folder is, or what this program can do.
#include <fmt/ranges.h>

#include <memory>

#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/options.h"
#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/data/download.h"
#include "ink/data/registry.h"
#include "ink/format/onnx.h"
#include "ink/model/config.h"
#include "ink/serve/http_server.h"
#include "ink/tensor/plan.h"
#include "ink/text/tokenizer.h"
#include "ink/train/describe.h"
#include "ink/train/optimizer.h"
#include "ink/train/schedule.h"

namespace ink {

namespace {

void print_row(std::string_view name, std::string_view description) { fmt::print("  {:<18} {}\n", name, description); }

// What the device is, or why it cannot be used here.
std::string describe_device(const std::string& name, ThreadPool& pool) {
  try {
    return make_ops(name, pool)->description();
  } catch (const Error& error) {
    return fmt::format("none: {}", error.what());
  }
}

void print_program() {
  fmt::print("ink {}\n{}, {} threads, {}\n\ndevices\n", INK_VERSION, cpu_name(), hardware_threads(),
             human_bytes(physical_memory()));
  ThreadPool pool;
  for (const DeviceInfo& device : devices()) print_row(device.name, describe_device(device.name, pool));
  fmt::print("\ninstructions\n");
  print_row("--isa", fmt::format("{}", fmt::join(instruction_sets(), ", ")));
  fmt::print("\ndownloads\n");
  print_row("data sets", download_library());
  fmt::print("\nprompts\n");
  print_row("line editor", line_editor());
  fmt::print("\nserver\n");
  print_row("http", http_library());
  fmt::print("\nexport\n");
  print_row("onnx", onnx_library());
  fmt::print("\nmodels\n");
  for (const Preset& preset : presets()) print_row(preset.name, preset.description);
  fmt::print("\ntokenizers\n");
  for (const TokenizerInfo& tokenizer : tokenizers()) print_row(tokenizer.name, tokenizer.description);
  fmt::print("\noptimizers\n");
  for (const Optimizer& optimizer : optimizers()) print_row(optimizer.name, optimizer.description);
  fmt::print("\nschedules\n");
  for (const Schedule& schedule : schedules()) print_row(schedule.name, schedule.description);
  fmt::print("\ndata sets\n");
  for (const Dataset& dataset : datasets()) print_row(dataset.name, dataset.description);
}

}  // namespace

void add_info_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("info", "Tell what a file or folder is, or what this program can do");
  const auto paths = std::make_shared<std::vector<std::string>>();
  command.add_option("paths", *paths, "Runs, checkpoints, models, shards, tokenizers, text; none: the program itself");
  command.callback([paths] {
    if (paths->empty()) print_program();
    for (const std::string& path : *paths) fmt::print("{}: {}\n", path, describe(path));
  });
}

}  // namespace ink
