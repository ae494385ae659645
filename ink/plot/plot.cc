#include "ink/plot/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <vector>

#include "ink/base/check.h"
#include "ink/plot/series.h"
#include "ink/text/unicode.h"

namespace ink {

namespace {

// Pixels of the picture.
constexpr int kWidth = 960;
constexpr int kMargin = 16;
constexpr int kPanelWidth = 456;
constexpr int kPanelHeight = 300;
constexpr int kPlotLeft = 56, kPlotTop = 30, kPlotWidth = 384, kPlotHeight = 228;  // within a panel
constexpr int kLegendRow = 20;
constexpr int kLegendColumns = 3;
constexpr size_t kLegendCharacters = 32;

constexpr size_t kBuckets = kPlotWidth;  // of a line: one a pixel

// Colours that people with any colour vision tell apart (Okabe and Ito 2008); dashes tell runs apart beyond those, and
// on paper.
constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000"};
constexpr std::array kDashes = {"", "6 3", "2 2", "8 3 2 3"};

struct Panel {
  std::string_view title;
  Metric metric;
  bool may_be_logarithmic;
};
constexpr std::array kPanels = {Panel{"Loss", Metric::loss, true}, Panel{"Learning rate", Metric::lr, false},
                                Panel{"Gradient norm", Metric::norm, true},
                                Panel{"Tokens a second", Metric::tokens_per_second, false}};

struct Line {
  size_t run;
  bool validation;
  std::vector<Bucket> raw;     // as recorded
  std::vector<Bucket> smooth;  // drawn above it; empty without smoothing
  bool thinned;
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

std::vector<Line> lines_of(std::span<const RunLog> runs, const Panel& panel, const PlotOptions& options) {
  std::vector<Line> lines;
  const auto add = [&](size_t run, Metric metric) {
    // The average begins with the run, wherever the picture does.
    const std::vector<Point> smoothed = smooth(runs[run].points(metric), options.smoothing);
    const auto raw = within(runs[run].points(metric), options.first, options.last);
    if (raw.empty()) return;
    const bool validation = metric == Metric::val_loss;
    const int64_t size = bucket_size(raw.size(), kBuckets);
    Line line = {.run = run, .validation = validation, .raw = thin_out(raw, size), .thinned = size > 1};
    // A schedule has no noise, and validation too few points.
    if (options.smoothing > 0 && !validation && metric != Metric::lr) {
      line.smooth = thin_out(within(smoothed, options.first, options.last), size);
    }
    lines.push_back(std::move(line));
  };
  for (size_t run = 0; run < runs.size(); ++run) {
    add(run, panel.metric);
    if (panel.metric == Metric::loss) add(run, Metric::val_loss);
  }
  return lines;
}

// Points as an SVG path; what has no place is a gap.
std::string path_of(const std::vector<Bucket>& buckets, float Bucket::*value, const Axis& x, const Axis& y) {
  std::string path;
  bool pen_down = false;
  for (const Bucket& bucket : buckets) {
    const double at = y.place(bucket.*value);
    if (std::isfinite(at)) {
      fmt::format_to(std::back_inserter(path), "{}{:.2f} {:.2f}", pen_down ? "L" : "M",
                     kPlotLeft + kPlotWidth * x.place(static_cast<double>(bucket.step)),
                     kPlotTop + kPlotHeight * (1 - at));
    }
    pen_down = std::isfinite(at);
  }
  return path;
}

// From the lowest to the highest value of each bucket, as one vertical stroke.
std::string spread_of(const std::vector<Bucket>& buckets, const Axis& x, const Axis& y) {
  std::string path;
  for (const Bucket& bucket : buckets) {
    const double low = y.place(bucket.low), high = y.place(bucket.high);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    fmt::format_to(std::back_inserter(path), "M{:.2f} {:.2f}V{:.2f}",
                   kPlotLeft + kPlotWidth * x.place(static_cast<double>(bucket.step)),
                   kPlotTop + kPlotHeight * (1 - low), kPlotTop + kPlotHeight * (1 - high));
  }
  return path;
}

void draw_path(std::string& svg, const std::string& path, size_t run, double width, double opacity, bool dashes) {
  if (path.empty()) return;
  const char* dash = dashes ? kDashes[run / kColours.size() % kDashes.size()] : "";
  fmt::format_to(std::back_inserter(svg),
                 "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-opacity=\"{}\"{}/>\n", path,
                 kColours[run % kColours.size()], width, opacity,
                 *dash != '\0' ? fmt::format(" stroke-dasharray=\"{}\"", dash) : "");
}

void draw_line(std::string& svg, const Line& line, const Axis& x, const Axis& y) {
  if (line.validation) {
    draw_path(svg, path_of(line.raw, &Bucket::mean, x, y), line.run, 1, 1, false);
    for (const Bucket& bucket : line.raw) {
      const double at = y.place(bucket.mean);
      if (!std::isfinite(at)) continue;
      fmt::format_to(std::back_inserter(svg),
                     "<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"2.5\" fill=\"#fff\" stroke=\"{}\"/>\n",
                     kPlotLeft + kPlotWidth * x.place(static_cast<double>(bucket.step)),
                     kPlotTop + kPlotHeight * (1 - at), kColours[line.run % kColours.size()]);
    }
    return;
  }
  const bool smoothed = !line.smooth.empty();
  if (line.thinned) draw_path(svg, spread_of(line.raw, x, y), line.run, 1, 0.25, false);
  draw_path(svg, path_of(line.raw, &Bucket::mean, x, y), line.run, smoothed ? 1 : 1.5, smoothed ? 0.35 : 1, !smoothed);
  draw_path(svg, path_of(line.smooth, &Bucket::mean, x, y), line.run, 1.8, 1, true);
}

void draw_axes(std::string& svg, const Panel& panel, const Axis& x, const Axis& y) {
  const auto out = std::back_inserter(svg);
  const int right = kPlotLeft + kPlotWidth, bottom = kPlotTop + kPlotHeight;
  fmt::format_to(out, "<text x=\"{}\" y=\"18\" font-size=\"14\" font-weight=\"bold\">{}{}</text>\n", kPlotLeft,
                 panel.title, y.scale == Scale::logarithmic ? ", logarithmic" : "");
  for (const double tick : y.ticks) {
    const double at = kPlotTop + kPlotHeight * (1 - y.place(tick));
    fmt::format_to(out,
                   "<path d=\"M{} {:.2f}H{}\" stroke=\"#ddd\"/>"
                   "<text x=\"{}\" y=\"{:.2f}\" text-anchor=\"end\">{}</text>\n",
                   kPlotLeft, at, right, kPlotLeft - 6, at + 4, tick_text(tick));
  }
  for (const double tick : x.ticks) {
    const double at = kPlotLeft + kPlotWidth * x.place(tick);
    fmt::format_to(out,
                   "<path d=\"M{:.2f} {}v5\" stroke=\"#666\"/>"
                   "<text x=\"{:.2f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                   at, bottom, at, bottom + 18, tick_text(tick));
  }
  fmt::format_to(out, "<path d=\"M{} {}V{}H{}\" fill=\"none\" stroke=\"#666\"/>\n", kPlotLeft, kPlotTop, bottom, right);
  fmt::format_to(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">step</text>\n", right, bottom + 34);
}

// Draws a panel with its corner at (0, 0); returns nothing if no run has the metric.
std::string draw_panel(std::span<const RunLog> runs, const Panel& panel, const PlotOptions& options) {
  const std::vector<Line> lines = lines_of(runs, panel, options);
  const Scale scale = panel.may_be_logarithmic ? options.scale : Scale::linear;
  Range steps, values;
  for (const Line& line : lines) {
    for (const Bucket& bucket : line.raw) {
      steps.add(static_cast<double>(bucket.step));
      for (const float value : {bucket.low, bucket.high}) {
        if (scale == Scale::linear || value > 0) values.add(value);
      }
    }
  }
  if (values.empty()) return "";
  const Axis x = make_axis(steps.low, steps.high, Scale::linear, 6);
  const Axis y = make_axis(values.low, values.high, scale, 6);
  std::string svg;
  draw_axes(svg, panel, x, y);
  for (const Line& line : lines) draw_line(svg, line, x, y);
  return svg;
}

std::string legend_name(const std::string& name) {
  size_t end = 0, characters = 0;
  for (; end < name.size() && characters < kLegendCharacters; ++characters) end += character_at(name, end).size;
  return xml_text(std::string_view(name).substr(0, end)) + (end < name.size() ? "…" : "");
}

std::string draw_legend(std::span<const RunLog> runs) {
  std::string svg;
  for (size_t run = 0; run < runs.size(); ++run) {
    const int x = kMargin + static_cast<int>(run % kLegendColumns) * ((kWidth - 2 * kMargin) / kLegendColumns);
    const int y = kMargin + static_cast<int>(run / kLegendColumns) * kLegendRow + kLegendRow / 2;
    draw_path(svg, fmt::format("M{} {}h24", x, y), run, 2, 1, true);
    fmt::format_to(std::back_inserter(svg), "<text x=\"{}\" y=\"{}\"><title>{}</title>{}</text>\n", x + 30, y + 4,
                   xml_text(runs[run].name()), legend_name(runs[run].name()));
  }
  return svg;
}

}  // namespace

std::string xml_text(std::string_view text) {
  std::string escaped;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const bool control = c.code < 0x20 && c.code != '\t' && c.code != '\n' && c.code != '\r';
    if (!c.valid() || control || c.code == 0xfffe || c.code == 0xffff) {
      escaped += "\uFFFD";
    } else if (c.code == '&' || c.code == '<' || c.code == '>' || c.code == '"') {
      escaped += c.code == '&' ? "&amp;" : c.code == '<' ? "&lt;" : c.code == '>' ? "&gt;" : "&quot;";
    } else {
      escaped += text.substr(at, c.size);
    }
    at += c.size;
  }
  return escaped;
}

std::string plot_svg(std::span<const RunLog> runs, const PlotOptions& options) {
  check(!runs.empty(), "no run to plot");
  std::vector<std::string> panels;
  for (const Panel& panel : kPanels) {
    std::string svg = draw_panel(runs, panel, options);
    if (!svg.empty()) panels.push_back(std::move(svg));
  }
  check(!panels.empty(), "{}: no values to plot; is it a run folder with a metrics.jsonl, and were the steps reached?",
        runs.front().path().string());
  // The last entry says what circles are.
  const int legend_rows = static_cast<int>(runs.size() / kLegendColumns) + 1;
  const int top = kMargin + legend_rows * kLegendRow + 8;
  const int rows = static_cast<int>(panels.size() + 1) / 2;
  const int height = top + rows * kPanelHeight + kMargin;
  std::string names;
  for (const RunLog& run : runs) names += (names.empty() ? "" : ", ") + xml_text(run.name());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>Training runs: {}</title>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      kWidth, height, kWidth, height, names);
  svg += draw_legend(runs);
  const int note_x =
      kMargin + static_cast<int>(runs.size() % kLegendColumns) * ((kWidth - 2 * kMargin) / kLegendColumns);
  const int note_y = kMargin + (legend_rows - 1) * kLegendRow + kLegendRow / 2;
  svg += fmt::format(
      "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"#fff\" stroke=\"#222\"/><text x=\"{}\" "
      "y=\"{}\">validation{}</text>\n",
      note_x + 12, note_y, note_x + 30, note_y + 4,
      options.smoothing > 0 ? fmt::format("; smoothing {:g}", options.smoothing) : "");
  for (size_t i = 0; i < panels.size(); ++i) {
    svg += fmt::format("<g transform=\"translate({} {})\">\n{}</g>\n",
                       kMargin + static_cast<int>(i % 2) * (kPanelWidth + kMargin),
                       top + static_cast<int>(i / 2) * kPanelHeight, panels[i]);
  }
  return svg + "</svg>\n";
}

}  // namespace ink
