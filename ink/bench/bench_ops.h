// ink bench ops: every operation at every shape that a step of training calls, timed on its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/bench/report.h"

namespace ink::bench {

struct OpsOptions {
  Workload workload;
  std::vector<std::string> devices = {"cpu"};
  std::vector<std::string> ops;  // names of ops.h's operations; empty: all
  int64_t repeat = 50;           // timed runs of a case, at most
  double seconds = 0.5;          // and about as long, at most; what takes longer runs once

  void validate() const;  // throws UsageError for unknown operations and a workload that no model fits
};

// The cases of a model: the operations of one step of training, AdamW included, in their order; then what other steps
// use: evaluation, sampling, SGD. Nothing is computed. Throws Error or UsageError for a workload that no model fits.
std::vector<OpCase> cases_of(Workload workload, ThreadPool& pool);

// note receives a line before each case, for people who wait. Throws UsageError for unknown devices and operations.
OpsReport bench_ops(const OpsOptions& options, ThreadPool& pool, const std::function<void(const std::string&)>& note);

// The workload's model, with seq_len resolved in place. Throws UsageError where they do not fit.
Gpt2Config resolve(Workload& workload);

}  // namespace ink::bench
