#include "ink/bench/timed_ops.h"

#include <fmt/format.h>

#include <chrono>

namespace ink::bench {

double TimedOps::on_call(const Call& call) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const double result = run(inner_, call);
  inner_.wait();
  pending_.push_back({call, std::chrono::duration<double>(Clock::now() - start).count()});
  return result;
}

void TimedOps::end_step(const CallNames& names) {
  ++steps_;
  for (const Timed& timed : pending_) {
    const std::string name = names(timed.call), shape = shape_of(timed.call);
    const std::string dtype(name_of(dtype_of_call(timed.call, products())));
    const Cost cost = cost_of(timed.call);
    const std::string key = fmt::format("{}|{}|{}|{}", name, shape, dtype, cost.bytes);
    const auto [entry, is_new] = index_.try_emplace(key, tallies_.size());
    if (is_new) tallies_.push_back({std::string(op_name(timed.call)), name, shape, dtype, cost, 0, {}});
    Tally& tally = tallies_[entry->second];
    tally.seconds.resize(static_cast<size_t>(steps_));  // no calls in a step: no seconds
    tally.seconds.back() += timed.seconds;
    tally.calls += 1;
  }
  for (Tally& tally : tallies_) tally.seconds.resize(static_cast<size_t>(steps_));
  pending_.clear();
}

}  // namespace ink::bench
