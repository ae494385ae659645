// The training run: data, model and optimizer put together, and the loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/base/parallel.h"
#include "ink/data/loader.h"
#include "ink/model/gpt2.h"
#include "ink/model/gpt2_inference.h"
#include "ink/ops/ops.h"
#include "ink/text/tokenizer.h"
#include "ink/train/checkpoint.h"
#include "ink/train/metrics.h"
#include "ink/train/options.h"
#include "ink/train/progress.h"
#include "ink/train/schedule.h"

namespace ink {

class Trainer {
 public:
  // Resolves the options: finds the checkpoint to resume from, builds the tokenizer, plans and allocates the model,
  // encodes text into shards, opens the loaders and loads or initialises the weights. With dry_run it stops at the
  // plan. ops and pool must outlive it. Throws Error (data, files, memory) or UsageError (options). note receives lines
  // for people.
  Trainer(TrainOptions options, Ops& ops, ThreadPool& pool, std::function<void(const std::string&)> note);
  ~Trainer();

  const Gpt2& model() const { return *model_; }
  int64_t steps() const { return schedule_options_.steps; }  // of the whole run
  int64_t accumulation() const { return accumulation_; }     // micro-batches in one step

  // Trains to the last step or until stop is true: then the step is finished and a checkpoint written. Throws Error
  // when a loss or gradient is not finite, naming step and tensor; checkpoints are then left as they are.
  void run(const std::atomic<bool>& stop, Progress& progress);

  // What samples take beside the model, while they are made.
  size_t sampling_bytes() const;

  double last_validation_loss() const { return last_validation_loss_; }  // NaN if there was none

 private:
  void resolve_sources();
  void resolve_tokenizer();
  Gpt2Config resolve_config() const;
  void plan_model();
  void prepare_run_folder();
  void prepare_data();
  void open_loaders();

  void load_or_init();
  void validate(const std::atomic<bool>& stop, Progress& progress);
  void sample(const std::atomic<bool>& stop, Progress& progress);
  InferenceOptions sampling_options() const;
  void checkpoint();
  StepReport step();
  [[noreturn]] void fail_non_finite(double loss, double norm) const;
  std::string non_finite_tensor() const;
  std::string last_checkpoint() const;  // in words
  void measure_speed(StepReport& report);

  TrainOptions options_;
  std::unique_ptr<FolderLock> lock_;           // of the run folder
  std::unique_ptr<AtomicDirectory> new_data_;  // shards encoded for this run, until all else has worked
  Ops& ops_;
  ThreadPool& pool_;
  std::function<void(const std::string&)> note_;

  std::filesystem::path resume_from_;           // a checkpoint of this run; empty: start anew
  std::filesystem::path weights_from_;          // a model to start from; empty: initialise
  std::string model_name_;                      // a preset, where there are no weights
  std::shared_ptr<const Tokenizer> tokenizer_;  // null when the data does not say
  const Optimizer* optimizer_ = nullptr;
  const Schedule* schedule_ = nullptr;
  ScheduleOptions schedule_options_;
  std::unique_ptr<Gpt2> model_;
  std::unique_ptr<Loader> train_loader_;
  std::unique_ptr<Loader> val_loader_;  // null: no validation
  int64_t accumulation_ = 1;
  int64_t val_batch_ = 0;
  int64_t val_batches_ = 0;

  int64_t step_ = 0;  // steps done
  OutlierDetector loss_outliers_;
  OutlierDetector norm_outliers_;
  double smoothed_loss_ = 0;
  double smoothed_speed_ = 0;
  int64_t timed_steps_ = 0;
  double peak_flops_ = 0;
  double last_validation_loss_;
  std::unique_ptr<MetricsLog> metrics_;
  std::vector<int32_t> inputs_, targets_;
};

}  // namespace ink
