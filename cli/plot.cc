// ink plot: charts of runs, as a picture.
#include "ink/plot/plot.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "ink/base/check.h"
#include "ink/base/file.h"

namespace ink {

namespace {

struct PlotCommand {
  std::vector<std::string> runs;
  std::string out = "plot.svg";
  bool logarithmic = false;
  PlotOptions plot;
};

void run_plot(const PlotCommand& c) {
  std::vector<RunLog> runs;
  for (const std::string& run : c.runs) {
    check(fs::is_regular_file(fs::path(run) / "metrics.jsonl"), "{}: no run folder, it has no metrics.jsonl", run);
    runs.emplace_back(run);
    runs.back().update();
  }
  PlotOptions options = c.plot;
  options.scale = c.logarithmic ? Scale::logarithmic : Scale::linear;
  const std::string svg = plot_svg(runs, options);
  if (c.out == "-") {
    fmt::print("{}", svg);
    return;
  }
  write_file(c.out, svg);
  fmt::print("{}\n", c.out);
}

}  // namespace

void add_plot_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("plot", "Draw the charts of runs: loss, learning rate, norm, speed");
  const auto c = std::make_shared<PlotCommand>();
  command.add_option("runs", c->runs, "Run folders, one colour each")->required();
  command.add_option("--out", c->out, "The SVG file, replaced if it is there; - for standard output")
      ->capture_default_str();
  command.add_option("--smoothing", c->plot.smoothing, "Weight of the moving average that is drawn; 0: none")
      ->check(CLI::Range(0.0, 0.9999))
      ->capture_default_str();
  command.add_flag("--log", c->logarithmic, "Logarithmic axes for loss and gradient norm");
  const auto step = [&](const char* name, int64_t& value, const char* text) {
    require_number<int64_t>(command.add_option(name, value, text))->check(CLI::Range(int64_t{0}, int64_t{1} << 53));
  };
  step("--first", c->plot.first, "First step shown");
  step("--last", c->plot.last, "Last step shown");
  command.callback([c] {
    if (std::isnan(c->plot.smoothing)) throw UsageError("--smoothing nan: must be from 0 to 0.9999");
    if (c->plot.first > c->plot.last) throw UsageError("--first is beyond --last");
    run_plot(*c);
  });
}

}  // namespace ink
