#include "ink/train/options.h"

#include <cmath>

#include "ink/base/check.h"
#include "ink/data/loader.h"
#include "ink/train/schedule.h"

namespace ink {

namespace {

template <class... Args>
void require(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

void require_in(std::string_view option, double value, double low, double high) {
  require(value >= low && value <= high, "{} {}: must be between {} and {}", option, value, low, high);
}

void require_at_least(std::string_view option, int64_t value, int64_t low) {
  require(value >= low, "{} {}: must be at least {}", option, value, low);
}

constexpr int64_t kMaxSteps = int64_t{1} << 40;

}  // namespace

void TrainOptions::validate() const {
  require(!(data.empty() && train_shards.empty() && !overfit && !resume),
          "no training data: give --data PATH (text) or --train-data PATTERN (shards)");
  require(data.empty() || train_shards.empty(), "--data and --train-data contradict each other: give one of them");
  require(data.empty() || val_shards.empty(), "--data and --val-data contradict each other: --data splits off its own");
  require(data.empty() || !out.empty(), "--data needs a run folder for its token shards: give --out DIR");
  require(!overfit || !data.empty() || !val_shards.empty() || resume,
          "--overfit trains on the first validation batch: give --val-data");
  require(!overfit || data.empty() || val_fraction > 0,
          "--overfit trains on the first validation batch, and --val-fraction 0 leaves none");
  require(!(resume && overwrite), "--resume and --overwrite contradict each other");
  require(!resume || !out.empty(), "--resume needs the run folder: give --out DIR");
  require_in("--val-fraction", val_fraction, 0, 0.9);

  require_at_least("--batch", batch, 1);
  require_in("--batch", static_cast<double>(batch), 1, 1 << 20);
  require_at_least("--seq-len", seq_len, 0);
  require_at_least("--total-batch", total_batch, 0);
  require(steps >= -1 && steps <= kMaxSteps, "--steps {}: must be -1 (one epoch) or at least 0", steps);

  if (!order.empty()) order_from_name(order);
  find_optimizer(optimizer);
  find_schedule(schedule);
  const OptimizerOptions& o = optimizer_options;
  require(std::isfinite(lr) && lr >= 0, "--lr {}: must be 0 or above", lr);
  require(o.beta1 >= 0 && o.beta1 < 1, "--beta1 {}: must be at least 0 and below 1", o.beta1);
  require(o.beta2 >= 0 && o.beta2 < 1, "--beta2 {}: must be at least 0 and below 1", o.beta2);
  require(std::isfinite(o.epsilon) && o.epsilon > 0, "--epsilon {}: must be above 0", o.epsilon);
  require(o.momentum >= 0 && o.momentum < 1, "--momentum {}: must be at least 0 and below 1", o.momentum);
  require(std::isfinite(o.weight_decay) && o.weight_decay >= 0, "--weight-decay {}: must be 0 or above",
          o.weight_decay);
  require_at_least("--warmup", warmup, 0);
  require(steps < 0 || warmup <= steps, "--warmup {} is longer than the run of --steps {}", warmup, steps);
  require_in("--final-lr-frac", final_lr_fraction, 0, 1);
  require(std::isfinite(clip) && clip >= 0, "--clip {}: must be 0 (no clipping) or above", clip);
  require(skip_loss_z >= 0, "--skip-loss-z {}: must be 0 (never) or above", skip_loss_z);
  require(skip_grad_z >= 0, "--skip-grad-z {}: must be 0 (never) or above", skip_grad_z);

  require_at_least("--val-every", val_every, 0);
  require(val_batches == -1 || val_batches >= 1, "--val-batches {}: must be -1 (all) or at least 1", val_batches);
  require_at_least("--sample-every", sample_every, 0);
  require_at_least("--sample-tokens", sample_tokens, 0);
  sampler.validate();
  require_at_least("--checkpoint-every", checkpoint_every, 0);
  require_at_least("--keep", keep, 0);
  require_at_least("--major-every", major_every, 0);
  require_at_least("--log-every", log_every, 1);
}

}  // namespace ink
