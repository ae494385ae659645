#include "ink/model/config.h"

#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/suggest.h"
#include "ink/model/schema.h"

namespace ink {

namespace {

// Columns of a config: context, vocab, layers, heads, channels.
constexpr std::array kPresets = {
    Preset{"char", "0.8M, character level: nanoGPT's recipe for a CPU", {64, 65, 4, 4, 128}},
    Preset{"gpt2-micro", "7M, for trying things on a CPU", {256, 50257, 4, 4, 128}},
    Preset{"gpt2-mini", "30M, short context", {256, 50257, 6, 6, 384}},
    Preset{"gpt2-tiny", "30M, llm.c's d6", {1024, 50257, 6, 6, 384}},
    Preset{"gpt2", "124M, GPT-2 small", {1024, 50257, 12, 12, 768}},
    Preset{"gpt2-medium", "354M", {1024, 50257, 24, 16, 1024}},
    Preset{"gpt2-large", "774M", {1024, 50257, 36, 20, 1280}},
    Preset{"gpt2-xl", "1558M", {1024, 50257, 48, 25, 1600}},
};

struct Depth {
  int64_t layers, heads, channels;
};
// llm.c's "gpt2:dX" by depth; 60 and up are its own.
constexpr std::array kGpt2Depths = {Depth{6, 6, 384},    Depth{12, 12, 768},  Depth{24, 16, 1024}, Depth{36, 20, 1280},
                                    Depth{48, 25, 1600}, Depth{60, 30, 1920}, Depth{72, 30, 2880}, Depth{84, 36, 3456}};
// llm.c's "gpt3:cX" by channels: GPT-3's sizes (Brown et al. 2020) with dense attention and a context of 2,048.
constexpr std::array kGpt3Channels = {Depth{6, 6, 384},    Depth{12, 12, 768},  Depth{24, 16, 1024},
                                      Depth{24, 16, 1536}, Depth{24, 16, 2048}, Depth{32, 32, 2560},
                                      Depth{32, 32, 4096}, Depth{96, 96, 12288}};

// A descriptor is a prefix and a number that picks a row of a table.
struct Descriptor {
  std::string_view prefix;
  std::string_view what;
  std::span<const Depth> table;
  int64_t Depth::*key;
  int64_t context;
};
constexpr std::array kDescriptors = {
    Descriptor{"gpt2:d", "depths", kGpt2Depths, &Depth::layers, 1024},
    Descriptor{"gpt3:c", "channels", kGpt3Channels, &Depth::channels, 2048},
    Descriptor{"d", "depths", kGpt2Depths, &Depth::layers, 1024},
};

Gpt2Config config_from_descriptor(const Descriptor& descriptor, std::string_view name, int64_t number) {
  std::string known;
  for (const Depth& row : descriptor.table) {
    if (row.*descriptor.key == number) return {descriptor.context, 50257, row.layers, row.heads, row.channels};
    known += (known.empty() ? "" : ", ") + std::to_string(row.*descriptor.key);
  }
  throw UsageError(
      fmt::format("unknown model '{}': the {} for '{}' are {}", name, descriptor.what, descriptor.prefix, known));
}

void check_range(std::string_view where, std::string_view what, int64_t value, int64_t max) {
  check(value >= 1 && value <= max, "{}: {} is {}, it must be from 1 to {}", where, what, value, max);
}

}  // namespace

int64_t Gpt2Config::parameters() const {
  int64_t total = 0;
  for_each_param(*this, [&](const ParamSpec& spec, int64_t) {
    const Shape shape = spec.shape(*this);
    total += (spec.vocab_rows ? vocab : shape.rows()) * shape.cols();
  });
  return total;
}

double Gpt2Config::flops_per_token(int64_t seq_len) const {
  return 6.0 * static_cast<double>(parameters()) + 6.0 * static_cast<double>(layers * channels * seq_len);
}

void Gpt2Config::validate(std::string_view where) const {
  // Generous for any GPT, and small enough that no product of dimensions comes near 2^63.
  check_range(where, "context", context, int64_t{1} << 20);
  check_range(where, "vocab", vocab, int64_t{1} << 20);
  check_range(where, "layers", layers, 1024);
  check_range(where, "heads", heads, int64_t{1} << 16);
  check_range(where, "channels", channels, int64_t{1} << 16);
  check(channels % heads == 0, "{}: channels ({}) must be a multiple of heads ({})", where, channels, heads);
  check(eps > 0 && eps < 1, "{}: layer norm's epsilon is {}, it must be above 0 and below 1", where, eps);
}

std::span<const Preset> presets() { return kPresets; }

Gpt2Config config_from_name(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset.config;
  }
  for (const Descriptor& descriptor : kDescriptors) {
    if (!name.starts_with(descriptor.prefix)) continue;
    const std::string_view digits = name.substr(descriptor.prefix.size());
    int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc() && end == digits.data() + digits.size()) {
      return config_from_descriptor(descriptor, name, number);
    }
  }
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  fail_unknown("model", name, names, "or llm.c's d12, gpt2:d12, gpt3:c768");
}

}  // namespace ink
