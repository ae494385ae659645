// Numbers about a server for Prometheus, in its text format (version 0.0.4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ink {

// How often a time fell into each of some ranges. Not for two threads at once.
class Histogram {
 public:
  void add(double seconds);
  int64_t count() const;

  // The upper ends of the ranges in seconds; one more range has none.
  static constexpr std::array<double, 14> kEnds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                   0.25,  0.5,    1,     2.5,  5,     10,   60};

 private:
  friend class MetricsText;
  std::array<int64_t, kEnds.size() + 1> counts_{};
  double sum_ = 0;
};

class MetricsText {
 public:
  // A metric without labels, or with them: labels as `status="200"`. Values of the same name come one after another.
  void counter(std::string_view name, std::string_view help, int64_t value, std::string_view labels = "");
  void gauge(std::string_view name, std::string_view help, int64_t value);
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram);

  const std::string& text() const { return text_; }

 private:
  void head(std::string_view name, std::string_view help, std::string_view type);

  std::string text_;
  std::string last_;
};

}  // namespace ink
