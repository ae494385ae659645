// What the benchmarks found, as values; and their two outward forms: Markdown tables for people, JSON for programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ink/bench/costs.h"
#include "ink/bench/stats.h"

namespace ink::bench {

struct DeviceLine {
  std::string name, description;  // "cpu", "AVX3, oneDNN 2.6.3, 2 threads"
};

// Where the figures come from: they mean nothing without it.
struct Machine {
  std::string version;  // of this program
  std::string cpu;
  int threads = 1;  // used
  int hardware_threads = 1;
  size_t memory = 0;  // bytes
  std::vector<DeviceLine> devices;
  Peaks peaks;
};

// The step that is measured.
struct Workload {
  std::string model = "gpt2";
  int64_t batch = 4;
  int64_t seq_len = 64;         // 0: the model's context
  DType products = DType::f32;  // what matrix products multiply
};

struct OpCase {
  std::string op, name, shape, dtype;
  int64_t calls = 0;  // in one step of training; 0: the step does without it
  Cost cost;
  Call call;  // with tensors that do not exist any more: their shapes count
};

struct OpTiming {
  std::string device;
  Spread seconds;  // of one call
};

struct OpResult {
  OpCase what;
  std::vector<OpTiming> timings;
};

struct OpsReport {
  Workload workload;
  std::vector<OpResult> ops;
};

// One kind of operation within a step.
struct OpShare {
  std::string op, name, shape, dtype;
  double calls = 0;    // a step
  double seconds = 0;  // a step, the median over the steps
  Cost cost;           // a step
};

struct ThreadsTiming {
  int threads = 1;
  Spread seconds;
};

struct TrainReport {
  Workload workload;
  std::string recompute, device;
  int threads = 1;
  std::vector<double> step_seconds;
  Spread seconds;  // a step
  double tokens_per_second = 0;
  double peak_flops = 0;  // measured before the steps, 0 if the device does not tell
  Floor floor;
  size_t planned_bytes = 0;
  size_t peak_bytes = 0;  // of the process, so far
  std::vector<OpShare> ops;
  double other_seconds = 0;            // a step, outside the operations
  std::vector<ThreadsTiming> scaling;  // from one thread up; empty if not asked for
};

// Inference with the weights of one type.
struct InferResult {
  std::string type;  // "q8_0", or what a file holds
  size_t file_bytes = 0;
  double first_token = 0;  // seconds from opening the file to the logits of one token
  Spread prompt;           // seconds of a prompt
  Spread decode;           // seconds of a step: one token of each sequence
  double prompt_flops = 0;
  size_t step_bytes = 0;  // that a step reads: weights, once for all sequences
  double perplexity = 0;  // 0: not asked for
};

struct InferReport {
  std::string model, device, data;
  int64_t prompt_tokens = 0, decode_tokens = 0, sequences = 1, perplexity_tokens = 0;
  std::vector<InferResult> types;
};

struct Report {
  Machine machine;
  std::optional<OpsReport> ops;
  std::optional<TrainReport> train;
  std::optional<InferReport> infer;
};

std::string to_json(const Report& report);      // indented, with a newline at its end
std::string to_markdown(const Report& report);  // headings and aligned tables

// A Markdown table whose columns line up as plain text too. Numbers lie to the right.
std::string markdown_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

}  // namespace ink::bench
