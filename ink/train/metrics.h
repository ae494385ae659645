// What a run records: metrics.jsonl for programs, main.log in llm.c's form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "ink/base/file.h"

namespace ink {

// One training step, as reported.
struct StepReport {
  int64_t step = 0;   // counts from 0
  int64_t steps = 0;  // of the run
  double loss = 0;
  double smoothed_loss = 0;
  double loss_z = 0;  // NaN while the window fills
  double norm = 0;    // of the gradient, before clipping
  double norm_z = 0;
  double lr = 0;
  bool skipped = false;          // no update: an outlier
  double seconds = 0;            // this step took
  double tokens_per_second = 0;  // smoothed
  double peak_share = 0;         // of the machine's measured FLOP/s; 0 when not known
  double eta_seconds = 0;        // until the last step
};

class MetricsLog {
 public:
  // Starts new logs in the run folder or, when resuming at a step above 0, continues them: records of that step and
  // later ones, which are about to be made again, are dropped first.
  MetricsLog(const std::filesystem::path& run, int64_t resume_step);

  // main.log: "s:0 trl:4.2113 lr:0.000010 norm:2.41". metrics.jsonl: {"step":0,"loss":...}.
  void train(const StepReport& report);
  // main.log: "s:0 tel:4.2113". metrics.jsonl: {"step":0,"val_loss":...}.
  void validation(int64_t step, double loss);
  // metrics.jsonl: {"step":0,"sample":"..."}.
  void sample(int64_t step, std::string_view text);

 private:
  OutputFile log_;
  OutputFile metrics_;
};

}  // namespace ink
