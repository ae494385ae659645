// ink get: a model folder from Hugging Face.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/progress.h"
#include "ink/data/hub.h"

namespace ink {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// One line a file.
auto progress_of_files() {
  return [name = std::string(), line = Progress()](const std::string& file, int64_t done, int64_t total) mutable {
    if (file != name) line = byte_progress(file);
    name = file;
    if (line) line(done, total);
  };
}

}  // namespace

void add_get_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("get", "Fetch a model from Hugging Face");
  struct GetCommand {
    std::string name, out;
    HubOptions options;
  };
  const auto c = std::make_shared<GetCommand>();
  command.add_option("name", c->name, "gpt2, gpt2-medium, gpt2-large, gpt2-xl, or ORG/NAME")->required();
  command.add_option("out", c->out, "The folder to make; by default NAME, in the current folder");
  command.add_option("--revision", c->options.revision, "A branch, tag or commit")->capture_default_str();
  command.callback([c] {
    const std::string full = hub_name(c->name);
    c->options.mirror = environment("INK_MIRROR");
    c->options.token = environment("HF_TOKEN");
    c->options.progress = progress_of_files();
    const std::string out = c->out.empty() ? full.substr(full.find('/') + 1) : c->out;
    const HubResult result = get_model(full, out, c->options);
    fmt::print("{}: {} files from {}\n", out, result.files.size(), result.from);
  });
}

}  // namespace ink
