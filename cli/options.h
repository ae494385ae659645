// Options that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "ink/base/parallel.h"
#include "ink/infer/sampler.h"
#include "ink/ops/device.h"

namespace ink {

struct DeviceOptions {
  std::string device = "cpu";
  int threads = 0;
};

inline void add_device_options(CLI::App& command, DeviceOptions& options) {
  command.add_option("--device", options.device, "Where to compute: see `ink info`")->capture_default_str();
  command.add_option("--threads", options.threads, "CPU threads; 0 for all. The results are the same for any number")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
}

// The threads and operations that a command runs on.
struct Device {
  explicit Device(const DeviceOptions& options) : pool(options.threads), ops(make_ops(options.device, pool)) {}
  ThreadPool pool;
  std::unique_ptr<Ops> ops;
};

inline void add_sampler_options(CLI::App& command, SamplerOptions& options) {
  command
      .add_option("--temperature", options.temperature, "Flattens (above 1) or sharpens the distribution; 0: greedy")
      ->capture_default_str();
  command.add_option("--top-k", options.top_k, "Only the k most likely tokens; 0: all")->capture_default_str();
  command.add_option("--top-p", options.top_p, "Only the most likely tokens that reach this probability; 1: all")
      ->capture_default_str();
}

}  // namespace ink
