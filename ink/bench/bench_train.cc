#include "ink/bench/bench_train.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "ink/base/check.h"
#include "ink/base/rng.h"
#include "ink/base/system.h"
#include "ink/bench/bench_ops.h"
#include "ink/bench/temporary_folder.h"
#include "ink/bench/timed_ops.h"
#include "ink/data/shard.h"
#include "ink/ops/device.h"
#include "ink/train/trainer.h"

namespace ink::bench {

namespace {

// Random tokens, for all steps if that is not too many: the loader begins again.
fs::path write_tokens(const fs::path& folder, int64_t wanted, int64_t step_tokens, int64_t vocab) {
  constexpr int64_t kMost = 1 << 22;
  const int64_t count = std::max(std::min(wanted, kMost), step_tokens) + 1;
  Mt19937 rng(42);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  const auto end = static_cast<uint32_t>(std::min<int64_t>(vocab, kMaxShardVocab));
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.next_u32() % end);
  fs::path path = folder / "tokens.bin";
  ShardWriter writer(path);
  writer.write(std::span<const int32_t>(tokens));
  writer.commit();
  return path;
}

// Takes the time of each step from the Trainer, and tells TimedOps where steps end.
class StepWatch final : public Progress {
 public:
  StepWatch(TimedOps& ops, const CallNames& names, int64_t warmup)
      : Progress(nullptr, false, 1), ops_(ops), names_(names), warmup_(warmup) {}

  void step(const StepReport& report) override {
    if (report.step < warmup_) {
      ops_.drop_step();
      return;
    }
    ops_.end_step(names_);
    seconds.push_back(report.seconds);
  }
  void finish() override {}

  std::vector<double> seconds;

 private:
  TimedOps& ops_;
  const CallNames& names_;
  int64_t warmup_;
};

struct Run {
  std::vector<double> seconds;
  std::vector<OpShare> ops;
  size_t planned_bytes = 0;
  double peak_flops = 0;
};

std::vector<OpShare> shares_of(const TimedOps& timed) {
  std::vector<OpShare> shares;
  const auto steps = static_cast<double>(timed.steps());
  for (const Tally& t : timed.tallies()) {
    const double calls = static_cast<double>(t.calls) / steps;
    Cost cost = t.cost;
    cost.flops *= calls;
    cost.bytes *= calls;
    shares.push_back({.op = t.op,
                      .name = t.name,
                      .shape = t.shape,
                      .dtype = t.dtype,
                      .calls = calls,
                      .seconds = spread_of(t.seconds).median,
                      .cost = cost});
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const OpShare& a, const OpShare& b) { return a.seconds > b.seconds; });
  return shares;
}

Run run_steps(const TrainBenchOptions& options, const Workload& workload, int64_t vocab, ThreadPool& pool) {
  const std::unique_ptr<Ops> ops = make_ops(options.device, pool, workload.products);
  TimedOps timed(*ops);
  const TemporaryFolder folder;
  const int64_t step_tokens = workload.batch * workload.seq_len, steps = options.warmup + options.steps;
  TrainOptions train;
  train.train_shards = write_tokens(folder.path(), steps * step_tokens, step_tokens, vocab);
  train.model = workload.model;
  train.vocab = vocab;
  train.batch = workload.batch;
  train.seq_len = workload.seq_len;
  train.steps = steps;
  train.recompute = options.recompute;
  train.val_every = 0;
  train.sample_every = 0;
  train.checkpoint_every = 0;
  Trainer trainer(train, timed, pool, [](const std::string&) {});
  const CallNames names(trainer.model().params());
  StepWatch watch(timed, names, options.warmup);
  const std::atomic<bool> stop{false};
  trainer.run(stop, watch);
  return {.seconds = watch.seconds,
          .ops = shares_of(timed),
          .planned_bytes = trainer.model().plan().bytes(),
          .peak_flops = ops->peak_flops()};  // measured when the Trainer began
}

}  // namespace

TrainReport bench_train(const TrainBenchOptions& options, ThreadPool& pool) {
  TrainReport report = {.workload = options.workload};
  const Gpt2Config config = resolve(report.workload);
  if (options.steps < 1) throw UsageError(fmt::format("--steps {}: must be 1 or above", options.steps));
  Run run = run_steps(options, report.workload, config.vocab, pool);
  report.recompute = options.recompute == Recompute::block ? "block" : "none";
  report.device = options.device;
  report.threads = pool.threads();
  report.peak_bytes = peak_memory();
  report.planned_bytes = run.planned_bytes;
  report.peak_flops = run.peak_flops;
  report.step_seconds = run.seconds;
  report.seconds = spread_of(run.seconds);
  report.tokens_per_second =
      static_cast<double>(report.workload.batch * report.workload.seq_len) / report.seconds.median;
  report.ops = std::move(run.ops);
  report.other_seconds = std::accumulate(report.ops.begin(), report.ops.end(), report.seconds.median,
                                         [](double left, const OpShare& op) { return left - op.seconds; });
  if (!options.scaling) return report;
  for (int threads = 1; threads < pool.threads(); ++threads) {
    ThreadPool fewer(threads);
    report.scaling.push_back(
        {.threads = threads, .seconds = spread_of(run_steps(options, report.workload, config.vocab, fewer).seconds)});
  }
  report.scaling.push_back({.threads = pool.threads(), .seconds = report.seconds});
  return report;
}

void add_floor(Report& report) {
  const Workload& w = report.train->workload;
  if (w.products != DType::f32) return;  // instructions for other products can pass the peak that is measured
  Peaks& peaks = report.machine.peaks;
  peaks.flops = std::max(peaks.flops, report.train->peak_flops);
  report.train->floor = floor_of(config_from_name(w.model), w.batch * w.seq_len, w.seq_len, peaks);
}

}  // namespace ink::bench
