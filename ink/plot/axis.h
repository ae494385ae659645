// An axis of a chart: its range, its ticks and where a value lies on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ink {

enum class Scale : uint8_t { linear, logarithmic };

struct Axis {
  double low = 0;
  double high = 1;  // above low
  Scale scale = Scale::linear;
  std::vector<double> ticks;  // within the range, rising

  // 0 at low, 1 at high. A value that the axis cannot show (not above zero on a logarithmic one) is NaN.
  double place(double value) const;
};

// An axis over the finite values from low to high, with about `count` ticks at 1, 2 or 5 times powers of ten. A range
// without width is widened. A logarithmic axis with a low of zero or below is a linear one.
Axis make_axis(double low, double high, Scale scale, int count);

// "0.0003", "1e-05", "12k", "1.5M".
std::string tick_text(double value);

}  // namespace ink
