// Finds steps whose loss or gradient norm is far from the recent ones (llm.c's llmc/outlier_detector.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace ink {

// The z-score of each new value against the last 128. Double sums are updated in place, as llm.c does, so that the same
// steps are found.
class OutlierDetector {
 public:
  static constexpr size_t kWindow = 128;

  // Adds value and returns its z-score, or NaN until the window was full before this value.
  double update(double value) {
    if (state_.window.size() < kWindow) {
      state_.window.push_back(value);
      state_.sum += value;
      state_.sum_squares += value * value;
      return std::numeric_limits<double>::quiet_NaN();
    }
    double& oldest = state_.window[state_.next];
    state_.sum -= oldest;
    state_.sum_squares -= oldest * oldest;
    state_.sum += value;
    state_.sum_squares += value * value;
    oldest = value;
    state_.next = (state_.next + 1) % kWindow;
    const double mean = state_.sum / kWindow;
    const double std = std::sqrt(state_.sum_squares / kWindow - mean * mean);
    return std > 0 ? (value - mean) / std : 0;
  }

  struct State {
    std::vector<double> window;
    size_t next = 0;
    double sum = 0, sum_squares = 0;
  };
  const State& state() const { return state_; }
  void restore(State state) {
    state_ = std::move(state);
    state_.window.reserve(kWindow);
  }

  OutlierDetector() { state_.window.reserve(kWindow); }

 private:
  State state_;
};

}  // namespace ink
