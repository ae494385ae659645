#include "ink/serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace ink {

void Histogram::add(double seconds) {
  ++counts_[static_cast<size_t>(std::ranges::lower_bound(kEnds, seconds) - kEnds.begin())];
  sum_ += seconds;
}

int64_t Histogram::count() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

void MetricsText::head(std::string_view name, std::string_view help, std::string_view type) {
  if (last_ == name) return;
  last_ = name;
  text_ += fmt::format("# HELP ink_{} {}\n# TYPE ink_{} {}\n", name, help, name, type);
}

void MetricsText::counter(std::string_view name, std::string_view help, int64_t value, std::string_view labels) {
  head(name, help, "counter");
  text_ +=
      labels.empty() ? fmt::format("ink_{} {}\n", name, value) : fmt::format("ink_{}{{{}}} {}\n", name, labels, value);
}

void MetricsText::gauge(std::string_view name, std::string_view help, int64_t value) {
  head(name, help, "gauge");
  text_ += fmt::format("ink_{} {}\n", name, value);
}

void MetricsText::histogram(std::string_view name, std::string_view help, const Histogram& h) {
  head(name, help, "histogram");
  int64_t below = 0;
  for (size_t i = 0; i < Histogram::kEnds.size(); ++i) {
    below += h.counts_[i];
    text_ += fmt::format("ink_{}_bucket{{le=\"{}\"}} {}\n", name, Histogram::kEnds[i], below);
  }
  text_ += fmt::format("ink_{}_bucket{{le=\"+Inf\"}} {}\nink_{}_sum {}\nink_{}_count {}\n", name, h.count(), name,
                       h.sum_, name, h.count());
}

}  // namespace ink
