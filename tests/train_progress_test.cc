// What people see of a run.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ink/train/progress.h"

namespace ink {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

StepReport report(int64_t step, int64_t steps) {
  return {.step = step,
          .steps = steps,
          .loss = 3.12344,
          .smoothed_loss = 3.201,
          .loss_z = kNan,
          .norm = 0.8124,
          .norm_z = kNan,
          .lr = 0.001,
          .seconds = 0.25,
          .tokens_per_second = 31250,
          .peak_share = 0.431,
          .eta_seconds = 80.2};
}

TEST(HumanSeconds, PicksTheUnit) {
  EXPECT_EQ(human_seconds(0), "0ms");
  EXPECT_EQ(human_seconds(0.85), "850ms");
  EXPECT_EQ(human_seconds(0.9999), "1.0s");
  EXPECT_EQ(human_seconds(12.34), "12.3s");
  EXPECT_EQ(human_seconds(59.94), "59.9s");
  EXPECT_EQ(human_seconds(59.97), "1m00s");
  EXPECT_EQ(human_seconds(245), "4m05s");
  EXPECT_EQ(human_seconds(3599.4), "59m59s");
  EXPECT_EQ(human_seconds(3599.6), "1h00m");
  EXPECT_EQ(human_seconds(2 * 3600 + 31 * 60), "2h31m");
  EXPECT_EQ(human_seconds(86400), "1d00h");
  EXPECT_EQ(human_seconds(3 * 86400 + 4 * 3600), "3d04h");
}

TEST(HumanSeconds, WhatIsNoDurationIsAQuestionMark) {
  for (const double seconds : {-1.0, kNan, std::numeric_limits<double>::infinity()})
    EXPECT_EQ(human_seconds(seconds), "?");
}

TEST(StepLine, SaysEverythingOnce) {
  EXPECT_EQ(step_line(report(11, 2000)),
            "step 12/2000 | loss 3.1234 (3.2010) | lr 1.00e-03 | norm 0.812 | 31.2k tok/s | 43% of peak | 250ms | eta "
            "1m20s");
}

TEST(StepLine, LeavesOutWhatIsNotKnown) {
  StepReport r = report(1999, 2000);
  r.peak_share = 0;
  r.eta_seconds = 0;
  r.tokens_per_second = 812.4;
  EXPECT_EQ(step_line(r), "step 2000/2000 | loss 3.1234 (3.2010) | lr 1.00e-03 | norm 0.812 | 812 tok/s | 250ms");
  r.tokens_per_second = 2.5e6;
  EXPECT_NE(step_line(r).find("| 2.50M tok/s |"), std::string::npos);
}

TEST(StepLine, SaysThatAnUpdateWasSkippedAndWhy) {
  StepReport r = report(200, 2000);
  r.skipped = true;
  r.loss_z = 7.25;
  r.norm_z = 1.5;
  EXPECT_NE(step_line(r).find("update skipped: loss z 7.2, norm z 1.5"), std::string::npos) << step_line(r);
}

// What a Progress printed.
template <class Use>
std::string printed(bool terminal, int64_t log_every, const Use& use) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  Progress progress(file.get(), terminal, log_every);
  use(progress);
  std::rewind(file.get());
  std::string text;
  for (int c = std::fgetc(file.get()); c != EOF; c = std::fgetc(file.get())) text += static_cast<char>(c);
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

void use_all(Progress& progress) {
  progress.note("a note");
  for (int64_t step = 0; step < 25; ++step) {
    if (step == 10) progress.validation(step, 2.5);
    StepReport r = report(step, 25);
    r.loss = 4 - 0.1 * static_cast<double>(step);
    progress.step(r);
  }
  progress.sample(25, "some\ntext");
  progress.finish();
}

TEST(Progress, PipedOutputIsPlainLines) {
  const std::string text = printed(false, 10, use_all);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\r'), std::string::npos);
  const std::vector<std::string> lines = lines_of(text);
  ASSERT_EQ(lines.size(), 10u) << text;
  EXPECT_EQ(lines[0], "a note");
  EXPECT_TRUE(lines[1].starts_with("step 1/25 |"));  // the first, every tenth and the last
  EXPECT_EQ(lines[2], "step 10 | validation loss 2.5000");
  EXPECT_TRUE(lines[3].starts_with("step 11/25 |"));
  EXPECT_TRUE(lines[4].starts_with("step 21/25 |"));
  EXPECT_TRUE(lines[5].starts_with("step 25/25 |"));
  EXPECT_EQ(lines[6], "--- sample at step 25");
  EXPECT_EQ(lines[7], "some");
  EXPECT_EQ(lines[8], "text");
  EXPECT_EQ(lines[9], "---");
}

TEST(Progress, LogEvery1IsALineAStep) {
  const std::string text = printed(false, 1, [](Progress& progress) {
    for (int64_t step = 0; step < 5; ++step) progress.step(report(step, 5));
    progress.finish();
  });
  EXPECT_EQ(lines_of(text).size(), 5u);
}

TEST(Progress, SkippedUpdatesAreAlwaysReported) {
  const std::string text = printed(false, 100, [](Progress& progress) {
    for (int64_t step = 0; step < 50; ++step) {
      StepReport r = report(step, 60);
      r.skipped = step == 7;
      progress.step(r);
    }
    progress.finish();
  });
  const std::vector<std::string> lines = lines_of(text);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[1].starts_with("step 8/60 |"));
}

TEST(Progress, ATerminalHasOneLiveLineAndTheCurve) {
  const std::string text = printed(true, 10, use_all);
  const std::string clear = "\r\x1b[K";
  // Every step replaces the line of the one before, and notes stand above it.
  size_t clears = 0;
  for (size_t at = text.find(clear); at != std::string::npos; at = text.find(clear, at + 1)) ++clears;
  EXPECT_EQ(clears, 25u);
  EXPECT_NE(text.find("a note\nstep 1/25 | "), std::string::npos);
  EXPECT_NE(text.find(clear + "step 10 | validation loss 2.5000\nstep 11/25 | "), std::string::npos);
  EXPECT_NE(text.find(clear + "step 25/25 | "), std::string::npos);
  EXPECT_NE(text.find("4.000 |"), std::string::npos);
  EXPECT_NE(text.find("o validation"), std::string::npos);
  EXPECT_EQ(text.back(), '\n');
}

TEST(Progress, NothingDoneShowsNothing) {
  EXPECT_EQ(printed(true, 10, [](Progress& progress) { progress.finish(); }), "");
  EXPECT_EQ(printed(false, 10, [](Progress& progress) { progress.finish(); }), "");
}

TEST(LossCurve, IsADrawingOfDots) {
  // A line from the upper left to the lower right, two cells of 2 x 4 dots.
  EXPECT_EQ(draw_loss_curve({{0, 3}, {1, 2}, {2, 1}, {3, 0}}, {}, 2, 1),
            "   3.000 |\u2811\u2884\n"
            "    loss +--\n"
            "          03\n");
}

TEST(LossCurve, MarksValidationLosses) {
  EXPECT_EQ(draw_loss_curve({{0, 2}, {100, 1}}, {{50, 1.5}, {100, 1}}, 9, 3),
            "   2.000 |\u2801        \n"
            "   1.500 |    o    \n"
            "   1.000 |        o\n"
            "    loss +---------\n"
            "          0     100\n"
            "          o validation\n");
}

TEST(LossCurve, PassesOverWhatIsNotFinite) {
  const std::vector<CurvePoint> clean = {{0, 3}, {1, 2}, {3, 0}};
  std::vector<CurvePoint> dirty = clean;
  dirty.insert(dirty.begin() + 2, {2, kNan});
  dirty.push_back({9, std::numeric_limits<double>::infinity()});
  EXPECT_EQ(draw_loss_curve(dirty, {}, 10, 4), draw_loss_curve(clean, {}, 10, 4));
}

TEST(LossCurve, IsEmptyWhereThereIsNoCurve) {
  EXPECT_EQ(draw_loss_curve({}, {}, 10, 4), "");
  EXPECT_EQ(draw_loss_curve({{0, 3}}, {}, 10, 4), "");
  EXPECT_EQ(draw_loss_curve({{0, 3}, {1, kNan}}, {}, 10, 4), "");
  EXPECT_EQ(draw_loss_curve({{0, 3}, {1, 3}, {2, 3}}, {}, 10, 4), "");
  EXPECT_EQ(draw_loss_curve({{5, 3}}, {{5, 2}}, 10, 4), "");
}

TEST(LossCurve, LongRunsFitTheGrid) {
  std::vector<CurvePoint> points;
  for (int64_t step = 0; step < 10000; ++step) points.push_back({step, 1e6 / static_cast<double>(step + 1)});
  const std::vector<std::string> lines = lines_of(draw_loss_curve(points, {}, 20, 5));
  EXPECT_EQ(lines.size(), 7u);
}

}  // namespace
}  // namespace ink
