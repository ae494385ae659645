// Options that several commands share.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>

#include "ink/base/parallel.h"
#include "ink/cpu/isa.h"
#include "ink/infer/sampler.h"
#include "ink/ops/device.h"

namespace ink {

// Whether a word is a whole number that T cannot hold.
template <class T>
bool overflows(const std::string& word) {
  T value = 0;
  const char* begin = word.data() + (word.starts_with('+') ? 1 : 0);
  return std::from_chars(begin, word.data() + word.size(), value).ec == std::errc::result_out_of_range;
}

// Refuses what CLI11 lets pass: an empty word, which it takes for 0, -1 for the largest unsigned number, and one that
// is too large for the largest there is.
template <class T>
CLI::Option* require_number(CLI::Option* option) {
  return option->check([](const std::string& word) -> std::string {
    if (word.empty()) return "needs a number";
    if (std::is_unsigned_v<T> && word[0] == '-') return "must be 0 or above";
    if constexpr (std::is_integral_v<T>) {
      if (overflows<T>(word)) return fmt::format("{} is too large", word);
    }
    return "";
  });
}

struct DeviceOptions {
  std::string device = devices().front().name;
  std::string dtype = "f32";
  int threads = 0;
  std::string isa;  // empty: the best
};

inline void add_thread_options(CLI::App& command, DeviceOptions& options) {
  require_number<int>(command.add_option("--threads", options.threads,
                                         "CPU threads; 0 for all. The results are the same for any number"))
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--isa", options.isa,
                     "The best vector instructions to use, as avx2; by default all the machine has, see `ink info`");
}

inline void add_dtype_option(CLI::App& command, DeviceOptions& options) {
  command
      .add_option(
          "--dtype", options.dtype,
          "What matrix products multiply: f32, or bf16, rounded; GPUs store activations so too. Sums, the weights "
          "that are trained and files stay f32")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
}

inline void add_device_options(CLI::App& command, DeviceOptions& options) {
  command.add_option("--device", options.device, "Where to compute: see `ink info`")->capture_default_str();
  add_dtype_option(command, options);
  add_thread_options(command, options);
}

inline DType products_of(const DeviceOptions& options) { return options.dtype == "bf16" ? DType::bf16 : DType::f32; }

// Limits the instructions, and returns the number of threads.
inline int apply_thread_options(const DeviceOptions& options) {
  if (!options.isa.empty()) limit_instruction_set(options.isa);
  return options.threads;
}

// The threads and operations that a command runs on.
struct Device {
  explicit Device(const DeviceOptions& options)
      : pool(apply_thread_options(options), ThreadPool::Pin::yes),
        ops(make_ops(options.device, pool, products_of(options))) {}
  ThreadPool pool;
  std::unique_ptr<Ops> ops;
};

inline void add_sampler_options(CLI::App& command, SamplerOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* text) {
    require_number<std::decay_t<decltype(value)>>(command.add_option(name, value, text))->capture_default_str();
  };
  add("--temperature", options.temperature, "Flattens (above 1) or sharpens the distribution; 0: greedy");
  add("--top-k", options.top_k, "Only the k most likely tokens; 0: all");
  add("--top-p", options.top_p, "Only the most likely tokens that reach this probability; 1: all");
  add("--min-p", options.min_p, "Only tokens at least this fraction as likely as the likeliest; 0: all");
  add("--repetition-penalty", options.repetition_penalty, "Above 1: what came before becomes less likely");
  add("--presence-penalty", options.presence_penalty, "Off the logits of tokens that were generated before");
  add("--frequency-penalty", options.frequency_penalty, "The same, as often as they were");
}

}  // namespace ink
