#include "ink/bench/bench_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/rng.h"
#include "ink/base/suggest.h"
#include "ink/bench/timed_ops.h"
#include "ink/ops/device.h"
#include "ink/train/optimizer.h"

namespace ink::bench {

namespace {

// Keeps the calls instead of making them: no memory is touched.
class Recorder final : public CallOps {
 public:
  using CallOps::CallOps;
  std::vector<Call> take() { return std::exchange(calls_, {}); }

 protected:
  double on_call(const Call& call) override {
    calls_.push_back(call);
    return 1;
  }

 private:
  std::vector<Call> calls_;
};

void update_all(Ops& ops, const Gpt2& model, std::string_view optimizer) {
  for (const Param& param : model.params()) find_optimizer(optimizer).update(ops, param, {}, {.lr = 1e-4f});
}

// Memory that a case's tensors are placed in again and again, each set beside the last, so that a repeat does not find
// in the caches what the one before left there. Tiny cases do: there are at most kSets sets.
class Arena {
 public:
  Arena(Ops& ops, size_t largest_case)
      : ops_(ops), memory_(ops.allocate(std::max(kBeyondCaches, largest_case))), pattern_(kPattern) {
    // Positive and small: sums of squares, variances and exponentials of any of it stay finite.
    Mt19937 rng(42);
    for (float& value : pattern_) value = 0.1f * rng.uniform();
  }

  // The call on other tensors of the same shapes, as often as they fit.
  std::vector<Call> place(const Call& call) {
    const size_t bytes = footprint(call);
    const size_t sets = std::clamp<size_t>(memory_->size() / std::max<size_t>(bytes, 1), 1, kSets);
    fill(sets * bytes);
    std::vector<Call> placed;
    for (size_t set = 0; set < sets; ++set) placed.push_back(place_at(call, memory_->data() + set * bytes));
    return placed;
  }

  // Bytes of a call's tensors. Those that share an address share bytes.
  static size_t footprint(const Call& call) {
    Call copy = call;
    size_t bytes = 0;
    for (const auto& [address, size] : places(copy)) bytes += size;
    return bytes;
  }

 private:
  static constexpr size_t kBeyondCaches = size_t{256} << 20;
  static constexpr size_t kSets = 64;
  static constexpr size_t kPattern = size_t{1} << 18;

  // Each address of the call's tensors and the bytes to keep there.
  static std::map<std::byte*, size_t> places(Call& call) {
    std::map<std::byte*, size_t> sizes;
    for (const Operand& o : operands(call)) {
      size_t& size = sizes[o.tensor->data];
      size = std::max(size, (o.tensor->bytes() + Plan::kAlignment - 1) / Plan::kAlignment * Plan::kAlignment);
    }
    return sizes;
  }

  void fill(size_t bytes) {
    for (size_t begin = 0; begin < bytes; begin += kPattern * sizeof(float)) {
      const size_t count = std::min(kPattern, (bytes - begin) / sizeof(float));
      ops_.upload(Tensor(memory_->data() + begin, DType::f32, {static_cast<int64_t>(count)}), pattern_.data());
    }
  }

  Call place_at(const Call& call, std::byte* memory) {
    Call placed = call;
    std::map<std::byte*, std::byte*> moved;
    for (const auto& [address, size] : places(placed)) {
      moved[address] = memory;
      memory += size;
    }
    for (const Operand& o : operands(placed)) {
      o.tensor->data = moved.at(o.tensor->data);
      if (o.tensor->dtype == DType::i32) upload_ids(*o.tensor, ids_end(call));
    }
    return placed;
  }

  static int64_t ids_end(const Call& call) {
    if (const auto* a = std::get_if<Embed>(&call)) return a->wte.rows();
    if (const auto* a = std::get_if<EmbedBackward>(&call)) return a->dwte.rows();
    if (const auto* a = std::get_if<Classifier>(&call)) return a->vocab;
    return 1;
  }

  void upload_ids(const Tensor& t, int64_t end) {
    Mt19937 rng(7);
    std::vector<int32_t> ids(static_cast<size_t>(t.numel()));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.next_u32() % static_cast<uint32_t>(end));
    ops_.upload(t, ids.data());
  }

  Ops& ops_;
  std::unique_ptr<Buffer> memory_;
  std::vector<float> pattern_;
};

// Seconds of a call, one value a timed run.
std::vector<double> time_calls(Ops& ops, const std::vector<Call>& sets, int64_t repeat, double budget) {
  using Clock = std::chrono::steady_clock;
  size_t next = 0;
  const auto timed = [&](int64_t calls) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) run(ops, sets[next++ % sets.size()]);
    ops.wait();
    return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(calls);
  };
  const double first = timed(1);
  if (first > budget) return {first};
  // What is too short for the clock is timed several times over.
  constexpr double kShortest = 1e-4;
  const double once = std::max(std::min(first, timed(1)), 1e-9);
  const auto calls = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(kShortest / once)));
  std::vector<double> seconds;
  double spent = 0;
  while (static_cast<int64_t>(seconds.size()) < repeat && (seconds.size() < 3 || spent < budget)) {
    seconds.push_back(timed(calls));
    spent += seconds.back() * static_cast<double>(calls);
  }
  return seconds;
}

}  // namespace

void OpsOptions::validate() const {
  const std::vector<std::string_view> known = op_names();
  for (const std::string& op : ops) {
    if (std::find(known.begin(), known.end(), op) == known.end()) fail_unknown("operation", op, known);
  }
  Workload resolved = workload;
  resolve(resolved);
}

Gpt2Config resolve(Workload& workload) {
  const Gpt2Config config = config_from_name(workload.model);
  if (workload.seq_len == 0) workload.seq_len = config.context;
  if (workload.seq_len < 0 || workload.seq_len > config.context) {
    throw UsageError(fmt::format("--seq-len {} does not fit {}, whose context is {}", workload.seq_len, workload.model,
                                 config.context));
  }
  if (workload.batch < 1) throw UsageError(fmt::format("--batch {}: must be 1 or above", workload.batch));
  return config;
}

std::vector<OpCase> cases_of(Workload workload, ThreadPool& pool) {
  const Gpt2Config config = resolve(workload);
  const int64_t B = workload.batch, T = workload.seq_len;
  const std::unique_ptr<Ops> host = make_ops("ref", pool);  // for its memory, which nobody touches
  Recorder recorder(*host);
  Gpt2 model(config, {.batch = B, .context = T, .training = true, .optimizer_state = {"m", "v"}}, recorder);
  model.allocate();
  const CallNames names(model.params());

  std::vector<OpCase> cases;
  std::map<std::string, size_t> index;
  const auto add = [&](const std::vector<Call>& calls, bool in_step) {
    for (const Call& call : calls) {
      OpCase c = {.op = std::string(op_name(call)),
                  .name = names(call),
                  .shape = shape_of(call),
                  .dtype = std::string(name_of(dtype_of_call(call, workload.products))),
                  .cost = cost_of(call),
                  .call = call};
      const std::string key = fmt::format("{}|{}|{}|{}", c.name, c.shape, c.dtype, c.cost.bytes);
      const auto [entry, is_new] = index.try_emplace(key, cases.size());
      if (is_new) cases.push_back(std::move(c));
      if (in_step) ++cases[entry->second].calls;
    }
  };

  const std::vector<int32_t> ids(static_cast<size_t>(B * T), 0);
  model.loss_and_backward(ids, ids, B, T);
  recorder.sum_squares(model.all_grads());
  update_all(recorder, model, "adamw");
  add(recorder.take(), true);

  model.loss_and_backward(ids, ids, B, T, {.accumulate = true});
  model.loss(ids, ids, B, T);
  const std::vector<int64_t> rows(static_cast<size_t>(std::min<int64_t>(B * T, 256)), 0);
  std::vector<float> logits(rows.size() * static_cast<size_t>(config.vocab));
  model.logits(ids, B, T, rows, logits);
  update_all(recorder, model, "sgd");
  recorder.all_finite(model.params().front().weight);
  recorder.fill(model.all_grads(), 0);
  add(recorder.take(), false);
  return cases;
}

OpsReport bench_ops(const OpsOptions& options, ThreadPool& pool, const std::function<void(const std::string&)>& note) {
  options.validate();
  OpsReport report = {.workload = options.workload, .ops = {}};
  resolve(report.workload);
  std::vector<std::unique_ptr<Ops>> devices;
  for (const std::string& name : options.devices) devices.push_back(make_ops(name, pool, report.workload.products));

  size_t largest = 0;
  for (OpCase& c : cases_of(report.workload, pool)) {
    const bool wanted =
        options.ops.empty() || std::find(options.ops.begin(), options.ops.end(), c.op) != options.ops.end();
    if (!wanted) continue;
    largest = std::max(largest, Arena::footprint(c.call));
    report.ops.push_back({.what = std::move(c), .timings = {}});
  }
  std::vector<Arena> arenas;
  for (const auto& ops : devices) arenas.emplace_back(*ops, largest);
  for (OpResult& result : report.ops) {
    for (size_t i = 0; i < devices.size(); ++i) {
      note(fmt::format("{} {} on {}", result.what.name, result.what.shape, options.devices[i]));
      const std::vector<Call> sets = arenas[i].place(result.what.call);
      result.timings.push_back({.device = options.devices[i],
                                .seconds = spread_of(time_calls(*devices[i], sets, options.repeat, options.seconds))});
    }
  }
  return report;
}

}  // namespace ink::bench
