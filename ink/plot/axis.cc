#include "ink/plot/axis.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace ink {

namespace {

// 1, 2 or 5 times a power of ten, the smallest that is at least `least`.
double nice_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

void add_linear_ticks(Axis& axis, int count) {
  const double step = nice_step((axis.high - axis.low) / count);
  constexpr double kSlack = 1e-5;  // of a step: the ends are floats, and 0.01f is below 0.01
  const double first = std::ceil(axis.low / step - kSlack), last = std::floor(axis.high / step + kSlack);
  for (double i = first; i <= last; ++i) axis.ticks.push_back(i == 0 ? 0 : i * step);
}

// Powers of ten; where there are few of them, 2 and 5 times those too.
void add_logarithmic_ticks(Axis& axis, int count) {
  const double first = std::floor(std::log10(axis.low)), last = std::ceil(std::log10(axis.high));
  const double every = std::ceil((last - first) / count);
  const bool between = last - first <= count / 2.0;
  for (double exponent = first; exponent <= last; exponent += every) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10.0, exponent);
      if (tick >= axis.low * (1 - 1e-9) && tick <= axis.high * (1 + 1e-9) && (factor == 1 || between)) {
        axis.ticks.push_back(tick);
      }
    }
  }
}

}  // namespace

double Axis::place(double value) const {
  if (scale == Scale::linear) return (value - low) / (high - low);
  if (!(value > 0)) return std::numeric_limits<double>::quiet_NaN();
  return std::log(value / low) / std::log(high / low);
}

Axis make_axis(double low, double high, Scale scale, int count) {
  Axis axis = {.low = low, .high = high, .scale = low > 0 ? scale : Scale::linear};
  if (!(high - low > 1e-9 * std::fmax(std::fabs(low), std::fabs(high)))) {  // one value: in the middle
    const double margin = low == 0 ? 1 : 0.1 * std::fabs(low);
    axis.low -= margin;
    axis.high += margin;
  }
  if (axis.scale == Scale::logarithmic) add_logarithmic_ticks(axis, count);
  if (axis.ticks.size() < 2) {  // less than one step of 1, 2, 5: the ticks of a linear axis
    axis.ticks.clear();
    add_linear_ticks(axis, count);
  }
  return axis;
}

std::string tick_text(double value) {
  const double size = std::fabs(value);
  if (size >= 1e9 && size < 1e15) return fmt::format("{:.6g}B", value / 1e9);
  if (size >= 1e6 && size < 1e9) return fmt::format("{:.6g}M", value / 1e6);
  if (size >= 1e4 && size < 1e6) return fmt::format("{:.6g}k", value / 1e3);
  return fmt::format("{:.6g}", value);
}

}  // namespace ink
