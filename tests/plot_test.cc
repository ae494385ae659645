// Run folders as a reader follows them, and the charts drawn from them.
#include "ink/plot/plot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/plot/axis.h"
#include "ink/plot/run_log.h"
#include "ink/plot/series.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

std::string step_line(int64_t step, double loss) {
  return fmt::format("{{\"step\":{},\"loss\":{},\"lr\":0.001,\"norm\":2.5,\"tokens_per_second\":12000}}\n", step, loss);
}

class RunFolder {
 public:
  void append(std::string_view text) { std::ofstream(file(), std::ios::app | std::ios::binary) << text; }
  void replace(std::string_view text) { write_file(file(), text); }
  fs::path file() const { return folder_ / "metrics.jsonl"; }
  const fs::path& path() const { return folder_.path(); }

 private:
  TempDir folder_;
};

std::vector<int64_t> steps(const RunLog& log, Metric metric = Metric::loss) {
  std::vector<int64_t> result;
  for (const Point& point : log.points(metric)) result.push_back(point.step);
  return result;
}

using Steps = std::vector<int64_t>;

TEST(RunLog, ReadsEveryRecord) {
  RunFolder run;
  run.append("{\"step\":0,\"val_loss\":4.25}\n" + step_line(0, 4.5) + "{\"step\":1,\"sample\":\"é <b>\\n\"}\n");
  RunLog log(run.path());
  log.update();
  ASSERT_EQ(steps(log), Steps{0});
  EXPECT_EQ(log.points(Metric::loss)[0].value, 4.5f);
  EXPECT_EQ(log.points(Metric::val_loss)[0].value, 4.25f);
  EXPECT_EQ(log.points(Metric::lr)[0].value, 0.001f);
  EXPECT_EQ(log.points(Metric::norm)[0].value, 2.5f);
  EXPECT_EQ(log.points(Metric::tokens_per_second)[0].value, 12000.0f);
  ASSERT_EQ(log.samples().size(), 1u);
  EXPECT_EQ(log.samples()[0].text, "é <b>\n");
  EXPECT_EQ(log.last_step(), 1);
  EXPECT_EQ(log.bad_lines(), 0);
}

TEST(RunLog, ReadsOnWhereItStopped) {
  RunFolder run;
  RunLog log(run.path());
  log.update();
  EXPECT_EQ(log.last_step(), -1);
  run.append(step_line(0, 3));
  log.update();
  EXPECT_EQ(steps(log), Steps{0});
  const std::string line = step_line(1, 2);
  run.append(line.substr(0, 10));
  log.update();
  EXPECT_EQ(steps(log), Steps{0}) << "half a line";
  EXPECT_EQ(log.bad_lines(), 0);
  run.append(line.substr(10) + step_line(2, 1));
  log.update();
  EXPECT_EQ(steps(log), (Steps{0, 1, 2}));
  EXPECT_EQ(log.generation(), 0);
}

TEST(RunLog, ReadsMoreThanOneChunk) {
  RunFolder run;
  std::string text;
  for (int64_t step = 0; step < 30000; ++step) text += step_line(step, 1);
  ASSERT_GT(text.size(), size_t{2} << 20);
  run.append(text);
  RunLog log(run.path());
  log.update();
  ASSERT_EQ(log.points(Metric::loss).size(), 30000u);
  EXPECT_EQ(log.points(Metric::loss).back().step, 29999);
  EXPECT_EQ(log.bad_lines(), 0);
}

// As a resumed run does: the log is cut to the checkpoint and goes on.
TEST(RunLog, AShorterFileIsReadAnew) {
  RunFolder run;
  run.append(step_line(0, 3) + step_line(1, 2) + step_line(2, 1));
  RunLog log(run.path());
  log.update();
  run.replace(step_line(0, 3));
  log.update();
  EXPECT_EQ(steps(log), Steps{0});
  EXPECT_EQ(log.last_step(), 0);
  EXPECT_EQ(log.generation(), 1);
}

TEST(RunLog, AnotherFileThatHasGrownFurtherIsReadAnew) {
  RunFolder run;
  run.append(step_line(0, 3) + step_line(1, 2.25));
  RunLog log(run.path());
  log.update();
  run.replace(step_line(0, 3) + step_line(1, 2.75) + step_line(2, 1));
  log.update();
  ASSERT_EQ(steps(log), (Steps{0, 1, 2}));
  EXPECT_EQ(log.points(Metric::loss)[1].value, 2.75f);
  EXPECT_EQ(log.generation(), 1);
}

TEST(RunLog, AFileThatIsGoneKeepsWhatWasRead) {
  RunFolder run;
  run.append(step_line(0, 3));
  RunLog log(run.path());
  log.update();
  fs::remove(run.file());
  log.update();
  EXPECT_EQ(steps(log), Steps{0});
}

TEST(RunLog, StepsThatGoBackReplace) {
  RunFolder run;
  run.append("{\"step\":0,\"val_loss\":5}\n" + step_line(0, 3) + "{\"step\":1,\"val_loss\":4}\n" + step_line(1, 2) +
             "{\"step\":2,\"sample\":\"old\"}\n" + step_line(2, 1));
  RunLog log(run.path());
  log.update();
  EXPECT_EQ(log.generation(), 0);
  run.append("{\"step\":1,\"val_loss\":9}\n" + step_line(1, 8));
  log.update();
  EXPECT_EQ(steps(log), (Steps{0, 1}));
  EXPECT_EQ(log.points(Metric::loss)[1].value, 8.0f);
  EXPECT_EQ(steps(log, Metric::val_loss), (Steps{0, 1}));
  EXPECT_EQ(log.points(Metric::val_loss)[1].value, 9.0f);
  EXPECT_TRUE(log.samples().empty());
  EXPECT_EQ(log.last_step(), 1);
  EXPECT_EQ(log.generation(), 1);
}

TEST(RunLog, CountsLinesThatAreNoRecords) {
  const std::string bad[] = {"",
                             "text",
                             "[]",
                             "{}",
                             "{\"step\":\"0\",\"loss\":1}",
                             "{\"step\":-1,\"loss\":1}",
                             "{\"step\":0.5,\"loss\":1}",
                             "{\"step\":18446744073709551615,\"loss\":1}",
                             "{\"step\":1e300,\"loss\":1}",
                             "{\"step\":0,\"loss\":1",
                             std::string("{\"step\":0,\0\"loss\":1}", 20),
                             "{\"step\":0,\"loss\":1}}",
                             "{\"step\":0,\"loss\":NaN}",
                             "{\"step\":0,\"sample\":\"\xff\"}",
                             std::string(200000, '[')};
  for (const std::string& line : bad) {
    RunFolder run;
    run.append(line + "\n" + step_line(7, 1));
    RunLog log(run.path());
    log.update();
    EXPECT_EQ(log.bad_lines(), 1) << line.substr(0, 60);
    EXPECT_EQ(steps(log), Steps{7}) << line.substr(0, 60);
  }
}

TEST(RunLog, PassesOverFieldsOfOtherTypes) {
  RunFolder run;
  run.append("{\"step\":0,\"loss\":\"1\",\"norm\":[1],\"lr\":1e300,\"sample\":5,\"val_loss\":null}\n");
  RunLog log(run.path());
  log.update();
  EXPECT_TRUE(log.points(Metric::loss).empty());
  EXPECT_TRUE(log.points(Metric::norm).empty());
  ASSERT_EQ(log.points(Metric::lr).size(), 1u);
  EXPECT_TRUE(std::isnan(log.points(Metric::lr)[0].value)) << "beyond float";
  ASSERT_EQ(log.points(Metric::val_loss).size(), 1u);
  EXPECT_TRUE(std::isnan(log.points(Metric::val_loss)[0].value));
  EXPECT_TRUE(log.samples().empty());
  EXPECT_EQ(log.bad_lines(), 0);
}

TEST(RunLog, ALineWithoutEndIsNotKeptInMemory) {
  RunFolder run;
  run.append(step_line(0, 1) + "{\"step\":1,\"sample\":\"" + std::string(3 * RunLog::kLineBytes, 'x'));
  RunLog log(run.path());
  log.update();
  log.update();
  EXPECT_EQ(log.bad_lines(), 1);
  run.append("\"}\n" + step_line(2, 1));
  log.update();
  EXPECT_EQ(steps(log), (Steps{0, 2}));
  EXPECT_EQ(log.bad_lines(), 1);
}

TEST(RunLog, KeepsTheNewestSamplesAndCutsLongOnes) {
  RunFolder run;
  for (size_t step = 0; step < RunLog::kSamples + 3; ++step) {
    run.append(fmt::format("{{\"step\":{},\"sample\":\"s\"}}\n", step));
  }
  std::string text(RunLog::kSampleBytes - 1, 'a');
  run.append(fmt::format("{{\"step\":1000,\"sample\":\"{}é\"}}\n", text));
  RunLog log(run.path());
  log.update();
  ASSERT_EQ(log.samples().size(), RunLog::kSamples);
  EXPECT_EQ(log.samples().front().step, 4);
  EXPECT_EQ(log.samples().back().text, text + "…") << "é is not cut in half";
}

TEST(RunLog, AFolderInThePlaceOfTheFileIsNoFile) {
  RunFolder run;
  fs::create_directory(run.file());
  RunLog log(run.path());
  log.update();
  EXPECT_EQ(log.last_step(), -1);
}

TEST(RunLog, Name) {
  EXPECT_EQ(RunLog("runs/my").name(), "my");
  EXPECT_EQ(RunLog("runs/my/").name(), "my");
  EXPECT_EQ(RunLog("runs/my/.").name(), "my");
  EXPECT_EQ(RunLog(".").name(), fs::current_path().filename().string());
}

TEST(Series, Within) {
  const std::vector<Point> points = {{1, 0}, {3, 0}, {5, 0}};
  EXPECT_EQ(within(points, 2, 5).size(), 2u);
  EXPECT_EQ(within(points, 2, 5).front().step, 3);
  EXPECT_EQ(within(points, 0, 9).size(), 3u);
  EXPECT_TRUE(within(points, 6, 9).empty());
  EXPECT_TRUE(within(points, 5, 1).empty());
}

TEST(Series, SmoothingStartsAtTheFirstValue) {
  const std::vector<Point> points = {{0, 4}, {1, 2}, {2, NAN}, {3, 2}};
  const std::vector<Point> smoothed = smooth(points, 0.5);
  EXPECT_FLOAT_EQ(smoothed[0].value, 4);
  EXPECT_FLOAT_EQ(smoothed[1].value, (0.25f * 4 + 0.5f * 2) / 0.75f);
  EXPECT_TRUE(std::isnan(smoothed[2].value));
  EXPECT_FLOAT_EQ(smoothed[3].value, (0.125f * 4 + 0.25f * 2 + 0.5f * 2) / 0.875f);
  EXPECT_EQ(smooth(points, 0)[1].value, 2);
}

TEST(Series, BucketSize) {
  EXPECT_EQ(bucket_size(0, 10), 1);
  EXPECT_EQ(bucket_size(10, 10), 1);
  EXPECT_EQ(bucket_size(11, 10), 2);
  EXPECT_EQ(bucket_size(41, 10), 8);
}

TEST(Series, ThinOutKeepsMeansAndExtremes) {
  const std::vector<Point> points = {{0, 1}, {1, 3}, {2, NAN}, {3, 5}, {9, NAN}};
  const std::vector<Bucket> buckets = thin_out(points, 2);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[0].step, 0);
  EXPECT_EQ(buckets[0].mean, 2);
  EXPECT_EQ(buckets[0].low, 1);
  EXPECT_EQ(buckets[0].high, 3);
  EXPECT_EQ(buckets[1].mean, 5);
  EXPECT_EQ(buckets[1].low, 5);
  EXPECT_EQ(buckets[2].step, 9);
  EXPECT_TRUE(std::isnan(buckets[2].mean));
}

TEST(Axis, LinearTicks) {
  const Axis axis = make_axis(0.2, 9.7, Scale::linear, 5);
  EXPECT_EQ(axis.ticks, (std::vector<double>{2, 4, 6, 8}));
  EXPECT_DOUBLE_EQ(axis.place(0.2), 0);
  EXPECT_DOUBLE_EQ(axis.place(9.7), 1);
  EXPECT_EQ(make_axis(0, double{0.01f}, Scale::linear, 5).ticks.size(), 6u) << "a float's end has its tick";
}

TEST(Axis, LogarithmicTicks) {
  const Axis wide = make_axis(0.001, 100, Scale::logarithmic, 5);
  ASSERT_EQ(wide.ticks.size(), 6u);
  EXPECT_NEAR(wide.ticks[3], 1, 1e-12);
  EXPECT_DOUBLE_EQ(wide.place(100), 1);
  EXPECT_NEAR(wide.place(0.1), 0.4, 1e-12);
  EXPECT_TRUE(std::isnan(wide.place(0)));
  const Axis narrow = make_axis(1.5, 60, Scale::logarithmic, 5);
  ASSERT_EQ(narrow.ticks.size(), 5u);
  EXPECT_NEAR(narrow.ticks[0], 2, 1e-12);
  EXPECT_NEAR(narrow.ticks[4], 50, 1e-12);
  const Axis tight = make_axis(1.5, 1.6, Scale::logarithmic, 5);
  EXPECT_GE(tight.ticks.size(), 4u) << "the ticks of a linear axis";
  EXPECT_EQ(make_axis(0, 10, Scale::logarithmic, 5).scale, Scale::linear);
}

TEST(Axis, ARangeWithoutWidthIsWidened) {
  for (const double value : {0.0, 3e-4, -5.0, 1e30}) {
    const Axis axis = make_axis(value, value, Scale::linear, 5);
    EXPECT_LT(axis.low, value);
    EXPECT_NEAR(axis.place(value), 0.5, 1e-9);
    EXPECT_FALSE(axis.ticks.empty());
    EXPECT_LT(axis.ticks.size(), 20u);
  }
}

TEST(Axis, TickText) {
  EXPECT_EQ(tick_text(0), "0");
  EXPECT_EQ(tick_text(0.0003), "0.0003");
  EXPECT_EQ(tick_text(1e-5), "1e-05");
  EXPECT_EQ(tick_text(9999), "9999");
  EXPECT_EQ(tick_text(12000), "12k");
  EXPECT_EQ(tick_text(1500000), "1.5M");
  EXPECT_EQ(tick_text(-2e9), "-2B");
}

// Whether tags open and close in order and attributes are quoted; nothing more of XML is written.
void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t at = 0; at < xml.size();) {
    if (xml[at] != '<') {
      ASSERT_NE(xml[at], '>') << xml.substr(at, 40);
      if (xml[at] == '&') {
        const std::string entity = xml.substr(at, xml.find(';', at) - at + 1);
        ASSERT_TRUE(entity == "&amp;" || entity == "&lt;" || entity == "&gt;" || entity == "&quot;") << entity;
      }
      ++at;
      continue;
    }
    const size_t end = xml.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = xml.substr(at + 1, end - at - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    ASSERT_EQ(std::count(tag.begin(), tag.end(), '"') % 2, 0) << tag;
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end + 1;
  }
  EXPECT_TRUE(open.empty());
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(Plot, DrawsValuesWhereTheyBelong) {
  RunFolder run;
  run.append("{\"step\":0,\"val_loss\":4}\n" + step_line(0, 4) + step_line(50, 3) + step_line(100, 2));
  std::vector<RunLog> runs = {RunLog(run.path())};
  runs[0].update();
  const std::string svg = plot_svg(runs, {});
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<g "), 4u);
  // From the upper left corner of the plot to the lower right one.
  EXPECT_EQ(count(svg, "d=\"M56.00 30.00L248.00 144.00L440.00 258.00\""), 1u) << svg;
  EXPECT_EQ(count(svg, "<circle cx=\"56.00\" cy=\"30.00\""), 1u);
  EXPECT_NE(svg.find(">12k</text>"), std::string::npos);
}

TEST(Plot, ShowsTheStepsAskedFor) {
  RunFolder run;
  for (int step = 0; step <= 100; ++step) run.append(step_line(step, step == 0 ? 1000 : 100 - step));
  std::vector<RunLog> runs = {RunLog(run.path())};
  runs[0].update();
  const std::string svg = plot_svg(runs, {.first = 50, .last = 60});
  EXPECT_NE(svg.find("M56.00 30.00L94.40 52.80"), std::string::npos) << svg;
  EXPECT_EQ(svg.find(">1000<"), std::string::npos);
  EXPECT_THROW(plot_svg(runs, {.first = 101}), Error);
}

TEST(Plot, GapsSmoothingAndLogarithms) {
  RunFolder run;
  run.append(step_line(0, 100) + step_line(1, 10) + "{\"step\":2,\"loss\":null}\n" + step_line(3, 0) + step_line(4, 1) +
             step_line(5, 1));
  std::vector<RunLog> runs = {RunLog(run.path())};
  runs[0].update();
  const std::string svg = plot_svg(runs, {.smoothing = 0.5, .scale = Scale::logarithmic});
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "d=\"M56.00 30.00L132.80 144.00M363.20 258.00L440.00 258.00\""), 1u) << svg;
  EXPECT_EQ(count(svg, "stroke-width=\"1.8\""), 3u) << "of loss, norm and speed: the learning rate is not smoothed";
  EXPECT_NE(svg.find("logarithmic"), std::string::npos);
}

TEST(Plot, LongRunsAreThinnedOutWithTheirExtremes) {
  RunFolder run;
  std::string text;
  for (int step = 0; step < 4000; ++step) text += step_line(step, step == 2001 ? 50 : 1);
  run.append(text);
  std::vector<RunLog> runs = {RunLog(run.path())};
  runs[0].update();
  const std::string svg = plot_svg(runs, {});
  expect_well_formed(svg);
  EXPECT_LT(svg.size(), 100000u);
  EXPECT_NE(svg.find("V30.00"), std::string::npos) << "the spike";
}

TEST(Plot, SeveralRunsWithOddNames) {
  TempDir folder;
  std::vector<RunLog> runs;
  for (const std::string& name : {std::string("a<script>&\"'"), std::string("b\x01\xff"),
                                  std::string("ü").append(120, 'x'), std::string("مرحبا")}) {
    fs::create_directory(folder / name);
    write_file(folder / name / "metrics.jsonl", step_line(0, 1) + step_line(1, 2));
    runs.emplace_back(folder / name);
    runs.back().update();
  }
  const std::string svg = plot_svg(runs, {});
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  EXPECT_NE(svg.find("a&lt;script&gt;&amp;&quot;"), std::string::npos);
  EXPECT_NE(svg.find("b\uFFFD\uFFFD"), std::string::npos);
  EXPECT_NE(svg.find("ü" + std::string(31, 'x') + "…<"), std::string::npos);
}

TEST(Plot, OneStepAndNoSteps) {
  RunFolder run;
  std::vector<RunLog> runs = {RunLog(run.path())};
  EXPECT_THROW(plot_svg(runs, {}), Error);
  EXPECT_THROW(plot_svg(std::span<const RunLog>(), {}), Error);
  run.append("{\"step\":0,\"loss\":1.5}\n");
  runs[0].update();
  const std::string svg = plot_svg(runs, {});
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<g "), 1u) << "only the loss";
}

}  // namespace
}  // namespace ink
