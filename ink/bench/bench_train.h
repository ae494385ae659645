// ink bench train: steps of the real Trainer on random weights and tokens, without files of the user's.
#pragma once

#include "ink/base/parallel.h"
#include "ink/bench/report.h"

namespace ink::bench {

struct TrainBenchOptions {
  Workload workload;
  Recompute recompute = Recompute::none;
  std::string device = "cpu";
  int64_t steps = 10;    // that count
  int64_t warmup = 2;    // before them: page tables and caches fill up
  bool scaling = false;  // also with 1, 2, ... threads
};

// Without the floor. Throws Error or UsageError for what no Trainer takes.
TrainReport bench_train(const TrainBenchOptions& options, ThreadPool& pool);

// The floor of report.train, once the machine is described: its memory is measured after the steps, whose own peak of
// memory it would hide. Of multiply-adds the better of what was measured before the steps and after counts.
void add_floor(Report& report);

}  // namespace ink::bench
