// Charts of training runs as one SVG picture: loss, learning rate, gradient norm and speed over steps.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "ink/plot/axis.h"
#include "ink/plot/run_log.h"

namespace ink {

struct PlotOptions {
  double smoothing = 0;         // in [0, 1): the weight of the moving average
  Scale scale = Scale::linear;  // of losses and norms
  int64_t first = 0;            // steps shown
  int64_t last = std::numeric_limits<int64_t>::max();
};

// The picture, with the runs in one colour each; a metric that no run has is left out. Throws Error if there is nothing
// to draw, naming the first run.
std::string plot_svg(std::span<const RunLog> runs, const PlotOptions& options);

// Text for XML: &, <, >, " escaped; what XML or UTF-8 forbids is U+FFFD.
std::string xml_text(std::string_view text);

}  // namespace ink
