// Where the time of a step goes: an Ops that passes every operation on and keeps how long it took.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ink/bench/calls.h"
#include "ink/bench/costs.h"

namespace ink::bench {

// One kind of operation, by name and shape.
struct Tally {
  std::string op, name, shape, dtype;
  Cost cost;                    // of one call
  int64_t calls = 0;            // in all steps
  std::vector<double> seconds;  // of all calls in a step, for every step
};

// The results are the same bits as without it.
class TimedOps final : public CallOps {
 public:
  using CallOps::CallOps;

  // Ends a step: what was called since the last one is added up under the names' names.
  void end_step(const CallNames& names);
  // Ends a step that does not count.
  void drop_step() { pending_.clear(); }

  int64_t steps() const { return steps_; }
  const std::vector<Tally>& tallies() const { return tallies_; }  // in the order of their first call

 protected:
  double on_call(const Call& call) override;

 private:
  struct Timed {
    Call call;
    double seconds;
  };
  std::vector<Timed> pending_;
  int64_t steps_ = 0;
  std::vector<Tally> tallies_;
  std::map<std::string, size_t> index_;
};

}  // namespace ink::bench
