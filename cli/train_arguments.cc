// llm.c's flags and option files, rewritten as the long options of `ink train`.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>

#include "cli/commands.h"
#include "cli/option_file.h"
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
    ShortFlag{"-pi", ""},
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
  if (flag.flag == "-d" && value == "-1") return "";  // its default
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
    const std::string& value = arguments[++i];
    std::string option = expand_flag(*flag, value);
    if (option.ends_with('=')) {  // CLI11 takes an empty value as a word of its own only
      expanded.insert(expanded.end(), {option.substr(0, option.size() - 1), value});
    } else if (!option.empty()) {
      expanded.push_back(std::move(option));
    }
  }
  return expanded;
}

// The value of --name in arguments ("--name value" or "--name=value"), the last one if it comes several times; empty if
// absent.
std::string value_of(const std::vector<std::string>& arguments, const std::string& name) {
  std::string value;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(name + "=")) value = arguments[i].substr(name.size() + 1);
    if (arguments[i] == name && i + 1 < arguments.size()) value = arguments[i + 1];
  }
  return value;
}

bool has_option(const std::vector<std::string>& arguments, const std::string& name) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const std::string& word) { return word == name || word.starts_with(name + "="); });
}

// The options of a file ("lr = 3e-4", optionally below [train]) that `given` does not hold itself.
std::vector<std::string> options_from_file(const CLI::App& train, const fs::path& path,
                                           const std::vector<std::string>& given) {
  std::vector<std::string> options;
  for (const FileOption& option : read_option_file(path)) {
    const bool known_section = option.section.empty() || option.section == "train";
    const std::string name = "--" + option.name;
    if (!known_section || train.get_option_no_throw(name) == nullptr || name == "--config" || name == "--help") {
      std::vector<std::string> names;
      for (const CLI::Option* o : train.get_options()) names.push_back(o->get_single_name());
      const std::vector<std::string_view> candidates(names.begin(), names.end());
      const std::string near = known_section ? nearest(option.name, candidates) : "";
      throw UsageError(fmt::format("{}: {}{}{}: no such option{}", path.string(), option.section,
                                   option.section.empty() ? "" : ".", option.name,
                                   near.empty() ? "; see ink train --help" : fmt::format("; did you mean {}?", near)));
    }
    if (has_option(given, name)) continue;
    for (const std::string& value : option.values) options.push_back(fmt::format("{}={}", name, value));
  }
  return options;
}

// CLI11 takes the last of equal options: `second` overrides `first`.
std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<std::string> with_option_files(const CLI::App& train, const std::vector<std::string>& arguments) {
  std::vector<std::string> given = expand_flags(arguments);
  if (const std::string config = value_of(given, "--config"); !config.empty()) {
    given = joined(options_from_file(train, config, given), given);
  }
  if (!has_option(given, "--resume") || value_of(given, "--resume") == "false") return given;
  const fs::path run = value_of(given, "--out");
  if (run.empty()) throw UsageError("--resume needs the run folder: give --out DIR");
  if (!fs::exists(run / "run.toml")) return given;
  // The run's own options: what is given now overrides them, on the command line and in an option file.
  const std::vector<std::string> own = options_from_file(train, run / "run.toml", {});
  for (const std::string name : {"--optimizer", "--data", "--model"}) {
    const std::string before = value_of(own, name), now = value_of(given, name);
    if (now.empty() || now == before) continue;
    throw UsageError(fmt::format("{} was trained with{} {}{}; it cannot go on with {}", run.string(),
                                 before.empty() ? "out" : "", name, before.empty() ? "" : " " + before, now));
  }
  return joined(options_from_file(train, run / "run.toml", given), given);
}

}  // namespace

std::vector<std::string> expand_train_arguments(const CLI::App& train, const std::vector<std::string>& arguments) {
  std::vector<std::string> expanded = with_option_files(train, arguments);
  // llm.c's -n alone keeps all checkpoints; a --keep from anywhere stands.
  const bool llmc_checkpoints = std::find(arguments.begin(), arguments.end(), "-n") != arguments.end();
  if (llmc_checkpoints && !has_option(expanded, "--keep")) expanded.push_back("--keep=0");
  return expanded;
}

}  // namespace ink
