// llm.c's flags and option files, rewritten as the long options of `ink train`.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/commands.h"
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/suggest.h"

namespace ink {

namespace {

struct ShortFlag {
  std::string_view flag;
  std::string_view option;  // empty: has no meaning on this machine's devices and is ignored
};

// llm.c's train_gpt2.cu. Every flag takes a value.
constexpr std::array kLlmcFlags = {
    ShortFlag{"-i", "--train-data"},
    ShortFlag{"-j", "--val-data"},
    ShortFlag{"-e", "--model"},
    ShortFlag{"-o", "--out"},
    ShortFlag{"-n", "--checkpoint-every"},
    ShortFlag{"-nk", "--keep"},
    ShortFlag{"-nm", "--major-every"},
    ShortFlag{"-y", "--resume"},
    ShortFlag{"-b", "--batch"},
    ShortFlag{"-t", "--seq-len"},
    ShortFlag{"-d", "--total-batch"},
    ShortFlag{"-x", "--steps"},
    ShortFlag{"-k", "--schedule"},
    ShortFlag{"-l", "--lr"},
    ShortFlag{"-u", "--warmup"},
    ShortFlag{"-q", "--final-lr-frac"},
    ShortFlag{"-c", "--weight-decay"},
    ShortFlag{"-sl", "--skip-loss-z"},
    ShortFlag{"-sg", "--skip-grad-z"},
    ShortFlag{"-v", "--val-every"},
    ShortFlag{"-m", "--val-batches"},
    ShortFlag{"-s", "--sample-every"},
    ShortFlag{"-g", "--sample-tokens"},
    ShortFlag{"-a", "--overfit"},
    ShortFlag{"-r", "--recompute"},
    ShortFlag{"-h", ""},
    ShortFlag{"-f", ""},
    ShortFlag{"-w", ""},
    ShortFlag{"-ge", ""},
    ShortFlag{"-z", ""},
    ShortFlag{"-lg", ""},
    ShortFlag{"-pn", ""},
    ShortFlag{"-pr", ""},
    ShortFlag{"-pg", ""},
    ShortFlag{"-pm", ""},
    ShortFlag{"-ps", ""},
    ShortFlag{"-pf", ""},
};

// The long form of one flag and its value; empty for a flag without effect.
std::string expand_flag(const ShortFlag& flag, const std::string& value) {
  const auto either = [&](std::string_view zero, std::string_view one) {
    if (value != "0" && value != "1") throw UsageError(fmt::format("{} {}: must be 0 or 1", flag.flag, value));
    return std::string(value == "0" ? zero : one);
  };
  if (flag.flag == "-y") return either("--overwrite", "--resume");
  if (flag.flag == "-a") return either("", "--overfit");
  if (flag.flag == "-pn" && value != "1") throw UsageError("-pn: several processes are not supported; use 1");
  if (flag.option.empty()) return "";
  return fmt::format("{}={}", flag.option, value);
}

std::vector<std::string> expand_flags(const std::vector<std::string>& arguments) {
  std::vector<std::string> expanded;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const auto flag =
        std::find_if(kLlmcFlags.begin(), kLlmcFlags.end(), [&](const ShortFlag& f) { return f.flag == word; });
    const bool has_value = i + 1 < arguments.size();
    const bool help = word == "-h" && !(has_value && (arguments[i + 1] == "0" || arguments[i + 1] == "1"));
    if (flag == kLlmcFlags.end() || help) {
      const bool option = word.size() >= 2 && word[0] == '-' && word[1] != '-' && std::isalpha(word[1]) != 0;
      if (option && !help) {
        std::vector<std::string_view> names;
        for (const ShortFlag& f : kLlmcFlags) names.push_back(f.flag);
        const std::string near = nearest(word, names);
        throw UsageError(fmt::format("{}: no such flag of ink train{}", word,
                                     near.empty() ? "; see --help" : fmt::format("; did you mean {}?", near)));
      }
      expanded.push_back(word);
      continue;
    }
    if (!has_value) throw UsageError(fmt::format("{}: needs a value", word));
    std::string option = expand_flag(*flag, arguments[++i]);
    if (!option.empty()) expanded.push_back(std::move(option));
  }
  return expanded;
}

// The value of --name in arguments ("--name value" or "--name=value"); empty if absent.
std::string value_of(const std::vector<std::string>& arguments, const std::string& name) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(name + "=")) return arguments[i].substr(name.size() + 1);
    if (arguments[i] == name && i + 1 < arguments.size()) return arguments[i + 1];
  }
  return "";
}

bool has_option(const std::vector<std::string>& arguments, const std::string& name) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const std::string& word) { return word == name || word.starts_with(name + "="); });
}

// The options of a TOML file ("lr = 3e-4", optionally below [train]) that the command line does not give itself.
std::vector<std::string> read_option_file(const CLI::App& train, const fs::path& path,
                                          const std::vector<std::string>& arguments) {
  std::istringstream text(read_file(path));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(text);
  } catch (const CLI::Error& error) {
    throw UsageError(fmt::format("{}: {}", path.string(), error.what()));
  }
  std::vector<std::string> options;
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section's begin and end
    const bool known_section = item.parents.empty() || (item.parents.size() == 1 && item.parents[0] == "train");
    const std::string name = "--" + item.name;
    if (!known_section || train.get_option_no_throw(name) == nullptr || name == "--config" || name == "--help") {
      std::vector<std::string> names;
      for (const CLI::Option* o : train.get_options()) names.push_back(o->get_single_name());
      const std::vector<std::string_view> candidates(names.begin(), names.end());
      const std::string near = nearest(item.name, candidates);
      throw UsageError(fmt::format("{}: {}: no such option{}", path.string(), item.fullname(),
                                   near.empty() ? "; see ink train --help" : fmt::format("; did you mean {}?", near)));
    }
    if (has_option(arguments, name)) continue;
    for (const std::string& input : item.inputs) options.push_back(fmt::format("{}={}", name, input));
  }
  return options;
}

}  // namespace

std::vector<std::string> expand_train_arguments(const CLI::App& train, const std::vector<std::string>& arguments) {
  const std::vector<std::string> given = expand_flags(arguments);
  std::vector<std::string> expanded;
  if (const std::string config = value_of(given, "--config"); !config.empty()) {
    expanded = read_option_file(train, config, given);
  }
  const fs::path run = value_of(given, "--out");
  if (has_option(given, "--resume") && !run.empty() && fs::exists(run / "run.toml")) {
    // The run's own options come last: an option file given now overrides them, as the command line does.
    std::vector<std::string> overriding = given;
    overriding.insert(overriding.end(), expanded.begin(), expanded.end());
    for (std::string& option : read_option_file(train, run / "run.toml", overriding)) {
      expanded.push_back(std::move(option));
    }
  }
  expanded.insert(expanded.end(), given.begin(), given.end());
  return expanded;
}

}  // namespace ink
