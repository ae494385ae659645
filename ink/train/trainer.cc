// The training loop: one step from batch to update, and what happens between steps.
#include "ink/train/trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "ink/base/check.h"
#include "ink/format/model_io.h"
#include "ink/infer/generator.h"
#include "ink/infer/weights.h"

namespace ink {

namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr double kSmoothing = 0.95;

// Of the step alone, so that a resumed run rounds as one that was not stopped. 0 would be rounding to the nearest.
uint32_t rounding_seed(int64_t step) { return random_bits(1, static_cast<uint64_t>(step)) | 1u; }

}  // namespace

void Trainer::load_or_init() {
  if (!resume_from_.empty()) {
    TrainState state = load_checkpoint(resume_from_, options_.optimizer, *model_);
    train_loader_->restore(state.loader);
    loss_outliers_.restore(std::move(state.loss_outliers));
    norm_outliers_.restore(std::move(state.norm_outliers));
    smoothed_loss_ = state.smoothed_loss;
    step_ = state.step;
    note_(fmt::format("resumed from {}", resume_from_.string()));
    if (step_ > steps()) {
      throw UsageError(
          fmt::format("{} is at step {} already, beyond --steps {}", options_.out.string(), step_, steps()));
    }
  } else if (!weights_from_.empty()) {
    load_weights(weights_from_, *model_);
    note_(fmt::format("weights from {}", weights_from_.string()));
  } else {
    Mt19937 rng(options_.seed);
    model_->init(rng);
  }
}

void Trainer::run(const std::atomic<bool>& stop, Progress& progress) {
  if (!options_.out.empty()) metrics_ = std::make_unique<MetricsLog>(options_.out, step_);
  peak_flops_ = ops_.peak_flops();
  const auto every = [this](int64_t period) { return period > 0 && step_ % period == 0; };
  while (step_ <= steps()) {
    const bool last = step_ == steps();
    if (stop) break;
    if (val_loader_ != nullptr && (every(options_.val_every) || last)) validate(stop, progress);
    if (options_.sample_every > 0 && ((step_ > 0 && every(options_.sample_every)) || last)) sample(stop, progress);
    if ((step_ > 0 && every(options_.checkpoint_every)) || last) checkpoint();
    if (last || stop) break;
    const StepReport report = step();
    ++step_;
    if (metrics_ != nullptr) metrics_->train(report);
    progress.step(report);
  }
  if (stop && step_ > 0) checkpoint();
  progress.finish();
  if (stop) {
    note_(options_.out.empty() || options_.checkpoint_every == 0
              ? fmt::format("stopped after step {}", step_)
              : fmt::format("stopped after step {}; go on with --resume --out {}", step_, options_.out.string()));
  }
}

// One optimization step over total_batch tokens: forward and backward of every micro-batch, then one update.
StepReport Trainer::step() {
  const Clock::time_point start = Clock::now();
  if (options_.overfit) train_loader_->reset();
  for (int64_t micro = 0; micro < accumulation_; ++micro) {
    train_loader_->next(inputs_, targets_);  // while a GPU still computes the batch before
    model_->backward(inputs_, targets_, options_.batch, options_.seq_len,
                     {.grad_scale = 1.0f / static_cast<float>(accumulation_),
                      .accumulate = micro > 0,
                      .rounding = options_.stochastic_rounding ? rounding_seed(step_) : 0});
  }
  const double loss = model_->mean_loss();
  const double norm = std::sqrt(ops_.sum_squares(model_->all_grads()));
  if (!std::isfinite(loss) || !std::isfinite(norm)) fail_non_finite(loss, norm);

  StepReport report = {.step = step_, .steps = steps(), .loss = loss, .norm = norm};
  report.loss_z = loss_outliers_.update(loss);
  report.norm_z = norm_outliers_.update(norm);
  report.lr = schedule_->lr(schedule_options_, step_);
  report.skipped = (options_.skip_loss_z > 0 && report.loss_z > options_.skip_loss_z) ||
                   (options_.skip_grad_z > 0 && report.norm_z > options_.skip_grad_z);
  if (!report.skipped) {
    const bool clipped = options_.clip > 0 && norm > options_.clip;
    const UpdateStep update = {.lr = static_cast<float>(report.lr),
                               .grad_scale = clipped ? options_.clip / static_cast<float>(norm) : 1.0f,
                               .step = step_ + 1};
    for (const Param& param : model_->params()) {
      optimizer_->update(ops_, param, options_.optimizer_options, update);
    }
  }
  smoothed_loss_ = step_ == 0 ? loss : kSmoothing * smoothed_loss_ + (1 - kSmoothing) * loss;
  report.smoothed_loss = smoothed_loss_;
  report.seconds = seconds_since(start);
  measure_speed(report);
  return report;
}

void Trainer::fail_non_finite(double loss, double norm) const {
  // std::abs: some libraries print NaN's sign
  fail("step {}: the loss is {} and the gradient norm {}; the first tensor that is not finite is {}; {}", step_,
       std::abs(loss), std::abs(norm), non_finite_tensor(), last_checkpoint());
}

std::string Trainer::non_finite_tensor() const {
  const std::string tensor = model_->first_non_finite();
  return tensor.empty() ? "none" : tensor;
}

std::string Trainer::last_checkpoint() const {
  const std::vector<CheckpointEntry> checkpoints =
      options_.out.empty() ? std::vector<CheckpointEntry>() : list_checkpoints(options_.out);
  return checkpoints.empty() ? "no checkpoint was written"
                             : fmt::format("the last good checkpoint is {}: go on from there with --resume",
                                           checkpoints.back().path.string());
}

// The first step of a process warms caches up and does not count.
void Trainer::measure_speed(StepReport& report) {
  const double speed = static_cast<double>(options_.total_batch) / report.seconds;
  ++timed_steps_;
  if (timed_steps_ <= 2) {
    smoothed_speed_ = speed;
  } else {
    smoothed_speed_ = kSmoothing * smoothed_speed_ + (1 - kSmoothing) * speed;
  }
  report.tokens_per_second = smoothed_speed_;
  if (peak_flops_ > 0) {
    report.peak_share = smoothed_speed_ * model_->config().flops_per_token(options_.seq_len) / peak_flops_;
  }
  const auto left = static_cast<double>(steps() - report.step - 1);
  report.eta_seconds = left * static_cast<double>(options_.total_batch) / smoothed_speed_;
}

void Trainer::validate(const std::atomic<bool>& stop, Progress& progress) {
  val_loader_->reset();
  double loss = 0;
  for (int64_t i = 0; i < val_batches_; ++i) {
    val_loader_->next(inputs_, targets_);
    loss += model_->loss(inputs_, targets_, val_batch_, options_.seq_len);
    if (stop) return;  // a resumed run validates here again
  }
  loss /= static_cast<double>(val_batches_);
  if (!std::isfinite(loss)) {
    fail("step {}: the validation loss is {}; the first tensor that is not finite is {}; {}", step_, std::abs(loss),
         non_finite_tensor(), last_checkpoint());
  }
  last_validation_loss_ = loss;
  if (metrics_ != nullptr) metrics_->validation(step_, last_validation_loss_);
  progress.validation(step_, last_validation_loss_);
}

// No more than a sample needs: there is a whole training run in memory beside it.
InferenceOptions Trainer::sampling_options() const {
  return {.context = std::min(model_->options().context, 1 + options_.sample_tokens), .rows = 16};
}

size_t Trainer::sampling_bytes() const {
  return options_.sample_every > 0 ? Gpt2Inference::bytes(model_->config(), sampling_options()) : 0;
}

void Trainer::sample(const std::atomic<bool>& stop, Progress& progress) {
  GenerateOptions generation = {.max_tokens = options_.sample_tokens, .sampler = options_.sampler};
  generation.sampler.seed = uint64_t{options_.seed} + static_cast<uint64_t>(step_);
  std::vector<int32_t> ids = tokenizer_ != nullptr ? default_prompt(*tokenizer_) : std::vector<int32_t>{0};
  const size_t prompt = ids.size();
  const int32_t end = tokenizer_ != nullptr ? tokenizer_->end_of_text().value_or(-1) : -1;
  if (tokenizer_ != nullptr) generation.vocab = tokenizer_->vocab_size();
  const std::shared_ptr<const ModelSource> source = model_source(*model_);
  Gpt2Inference inference(load_inference_weights(source, ops_), sampling_options(), ops_);
  generate(inference, generation, end, ids, [&](const GeneratedToken&) { return !stop; });
  if (stop) return;
  const std::span<const int32_t> generated = std::span(ids).subspan(prompt);
  const std::string text =
      tokenizer_ != nullptr ? tokenizer_->decode(generated) : fmt::format("{}", fmt::join(generated, " "));
  if (metrics_ != nullptr) metrics_->sample(step_, text);
  progress.sample(step_, text);
}

void Trainer::checkpoint() {
  if (options_.out.empty() || options_.checkpoint_every == 0) return;
  // The last update may have spoilt the weights, which the next step would notice: too late for this checkpoint.
  // Weights can be finite and their products not: one sequence tells. Or not finite where it does not look.
  if (!inputs_.empty()) {
    const auto tokens = static_cast<size_t>(options_.seq_len);
    const float loss =
        model_->loss(std::span(inputs_).first(tokens), std::span(targets_).first(tokens), 1, options_.seq_len);
    const auto is_finite = [&](const Param& param) { return ops_.all_finite(param.weight); };
    if (!std::isfinite(loss) || !std::ranges::all_of(model_->params(), is_finite)) {
      fail("step {}: after its update the loss is {}; the first tensor that is not finite is {}; {}", step_ - 1,
           std::abs(loss), non_finite_tensor(), last_checkpoint());
    }
  }
  const TrainState state = {.step = step_,
                            .optimizer = options_.optimizer,
                            .loader = train_loader_->state(),
                            .loss_outliers = loss_outliers_.state(),
                            .norm_outliers = norm_outliers_.state(),
                            .smoothed_loss = smoothed_loss_};
  try {
    save_checkpoint(options_.out, *model_, tokenizer_.get(), state);
  } catch (const Error& error) {
    fail("step {}: cannot save a checkpoint: {}; {}", step_, error.what(), last_checkpoint());
  }
  prune_checkpoints(options_.out, options_.keep, options_.major_every);
}

}  // namespace ink
