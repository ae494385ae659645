// The parts of a training run: schedules, the outlier detector, optimizers, logs.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/train/metrics.h"
#include "ink/train/optimizer.h"
#include "ink/train/outlier.h"
#include "ink/train/schedule.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

using nlohmann::json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Schedule, GivesLlmcsRates) {
  // llm.c's llmc/schedulers.h at lr 6e-4, 10 steps of warmup, 100 steps, final fraction 0.1.
  const ScheduleOptions options = {.lr = 6e-4f, .warmup = 10, .steps = 100, .final_fraction = 0.1f};
  constexpr std::array steps = {0, 5, 9, 10, 37, 79, 80, 81, 95, 99};
  struct Case {
    std::string_view name;
    std::array<float, 10> rates;
  };
  const std::array cases = {
      Case{"cosine",
           {6.00000021e-05f, 0.000360000005f, 0.000600000028f, 0.000600000028f, 0.000488702033f, 0.000129350912f,
            0.000123168007f, 0.000117237098f, 6.41019142e-05f, 6.01644751e-05f}},
      Case{"linear",
           {6.00000021e-05f, 0.000360000005f, 0.000600000028f, 0.000600000028f, 0.000438000017f, 0.000186000019f,
            0.000180000003f, 0.000174000015f, 8.99999868e-05f, 6.59999787e-05f}},
      Case{"constant", {6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f, 6e-4f}},
      Case{"wsd",
           {6.00000021e-05f, 0.000360000035f, 0.000600000028f, 0.000600000028f, 0.000600000028f, 0.000600000028f,
            0.000600000028f, 0.00047925234f, 0.000132346293f, 7.36731236e-05f}},
  };
  ASSERT_EQ(schedules().size(), cases.size());
  for (const Case& c : cases) {
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_NEAR(find_schedule(c.name).lr(options, steps[i]), c.rates[i], 1e-10) << c.name << " at step " << steps[i];
    }
  }
}

TEST(Schedule, GivesLlmcsRatesWithoutWarmupDownToZero) {
  const ScheduleOptions options = {.lr = 1e-3f, .warmup = 0, .steps = 7, .final_fraction = 0};
  struct Case {
    std::string_view name;
    std::array<float, 7> rates;
  };
  const std::array cases = {
      Case{"cosine",
           {0.00100000005f, 0.00095048442f, 0.000811744889f, 0.000611260417f, 0.000388739485f, 0.000188255115f,
            4.95155473e-05f}},
      Case{"linear",
           {0.00100000005f, 0.000857142906f, 0.000714285765f, 0.000571428565f, 0.000428571424f, 0.000285714283f,
            0.000142857141f}},
      Case{"wsd", {1e-3f, 1e-3f, 1e-3f, 1e-3f, 1e-3f, 1e-3f, 0.000292893237f}},
  };
  for (const Case& c : cases) {
    for (size_t i = 0; i < c.rates.size(); ++i) {
      EXPECT_NEAR(find_schedule(c.name).lr(options, static_cast<int64_t>(i)), c.rates[i], 1e-10) << c.name << " " << i;
    }
  }
}

TEST(Schedule, EndsAtTheFinalFractionAndHasNoJumps) {
  const ScheduleOptions options = {.lr = 1, .warmup = 50, .steps = 1000, .final_fraction = 0.25f};
  for (const Schedule& schedule : schedules()) {
    if (schedule.name == "constant") continue;
    EXPECT_FLOAT_EQ(schedule.lr(options, 0), 0.02f) << schedule.name;
    EXPECT_FLOAT_EQ(schedule.lr(options, 49), 1) << schedule.name;
    EXPECT_FLOAT_EQ(schedule.lr(options, 50), 1) << schedule.name;
    EXPECT_FLOAT_EQ(schedule.lr(options, 1000), 0.25f) << schedule.name;
    EXPECT_FLOAT_EQ(schedule.lr(options, 5000), 0.25f) << schedule.name << ", beyond the last step";
    for (int64_t step = 1; step <= 1000; ++step) {
      const float change = schedule.lr(options, step) - schedule.lr(options, step - 1);
      // The steepest: 1 - sqrt starts with an infinite slope, sqrt(1/200) of 0.75 in its first step.
      EXPECT_LE(std::abs(change), 0.06f) << schedule.name << " at " << step;
      if (step >= 50) {
        EXPECT_LE(change, 1e-7f) << schedule.name << " at " << step;
      }
    }
  }
}

TEST(Schedule, ShortRunsHaveFiniteRates) {
  for (const Schedule& schedule : schedules()) {
    for (int64_t steps = 0; steps <= 3; ++steps) {
      for (int64_t warmup = 0; warmup <= steps; ++warmup) {
        const ScheduleOptions options = {.lr = 1, .warmup = warmup, .steps = steps, .final_fraction = 0};
        for (int64_t step = 0; step <= steps; ++step) {
          const float lr = schedule.lr(options, step);
          EXPECT_TRUE(lr >= 0 && lr <= 1) << schedule.name << " " << lr << " of " << steps << " steps";
        }
      }
    }
  }
}

TEST(Schedule, AnUnknownNameIsAnErrorThatNamesTheNearest) {
  expect_error([] { find_schedule("cosin"); }, {"cosin", "did you mean 'cosine'", "wsd"});
  expect_error([] { find_schedule("quite another"); }, {"quite another", "linear"});
  EXPECT_THROW(find_schedule(""), UsageError);
}

TEST(Optimizer, RowsNameTheirState) {
  ASSERT_EQ(optimizers().size(), 2u);
  EXPECT_EQ(find_optimizer("adamw").state.size(), 2u);
  EXPECT_EQ(find_optimizer("sgd").state.size(), 1u);
  expect_error([] { find_optimizer("adam"); }, {"adam", "did you mean 'adamw'", "sgd"});
  EXPECT_THROW(find_optimizer("lion"), UsageError);
}

class OptimizerUpdate : public testing::TestWithParam<const char*> {
 protected:
  // One parameter of one value through some updates with constant gradient g.
  float updated(const char* optimizer, const char* name, float g, const OptimizerOptions& options, UpdateStep step,
                int times = 1) {
    ThreadPool pool(1);
    const auto ops = make_ops(GetParam(), pool);
    const Optimizer& row = find_optimizer(optimizer);
    Gpt2 model(kTiny, {.batch = 1, .training = true, .optimizer_state = {row.state.begin(), row.state.end()}}, *ops);
    model.allocate();
    for (const Param& p : model.params()) {
      if (p.name != name) continue;
      ops->fill(p.weight, 2);
      ops->fill(p.grad, g);
      for (int i = 0; i < times; ++i, ++step.step) row.update(*ops, p, options, step);
      const std::vector<float> values = values_of(model, p.weight);
      for (const float value : values) EXPECT_EQ(value, values[0]);
      return values[0];
    }
    ADD_FAILURE() << "no parameter " << name;
    return 0;
  }
};

TEST_P(OptimizerUpdate, SgdFollowsItsFormula) {
  const OptimizerOptions o = {.momentum = 0.5f, .weight_decay = 0.1f};
  // m = g, then 1.5 g; no decay of a vector.
  EXPECT_FLOAT_EQ(updated("sgd", "ln_f.bias", 3, {.momentum = 0.5f}, {.lr = 0.1f}), 2 - 0.1f * 3);
  EXPECT_FLOAT_EQ(updated("sgd", "ln_f.bias", 3, o, {.lr = 0.1f}, 2), 2 - 0.1f * 3 - 0.1f * 4.5f);
  EXPECT_FLOAT_EQ(updated("sgd", "ln_f.bias", 3, o, {.lr = 0.1f, .grad_scale = 0.5f}), 2 - 0.1f * 1.5f);
}

TEST_P(OptimizerUpdate, AdamwFollowsItsFormula) {
  // With a constant gradient both bias-corrected moments are exact: every update is lr · g / (|g| + eps).
  const OptimizerOptions o = {.beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f};
  EXPECT_NEAR(updated("adamw", "ln_f.bias", 3, o, {.lr = 0.1f}), 1.9f, 1e-6f);
  EXPECT_NEAR(updated("adamw", "ln_f.bias", -3, o, {.lr = 0.1f}, 3), 2.3f, 1e-5f);
  const OptimizerOptions big_epsilon = {.epsilon = 3};
  EXPECT_NEAR(updated("adamw", "ln_f.bias", 3, big_epsilon, {.lr = 0.1f}), 1.95f, 1e-6f);
  EXPECT_NEAR(updated("adamw", "ln_f.bias", 3, big_epsilon, {.lr = 0.1f, .grad_scale = 1.0f / 3}), 1.975f, 1e-6f);
}

TEST_P(OptimizerUpdate, OnlyMatricesDecay) {
  const OptimizerOptions o = {.weight_decay = 0.1f};
  for (const char* optimizer : {"adamw", "sgd"}) {
    EXPECT_FLOAT_EQ(updated(optimizer, "ln_f.weight", 0, o, {.lr = 0.1f}), 2) << optimizer;
    EXPECT_FLOAT_EQ(updated(optimizer, "h.1.attn.c_attn.bias", 0, o, {.lr = 0.1f}), 2) << optimizer;
    EXPECT_FLOAT_EQ(updated(optimizer, "h.1.attn.c_attn.weight", 0, o, {.lr = 0.1f}), 2 - 0.1f * 0.1f * 2) << optimizer;
    EXPECT_FLOAT_EQ(updated(optimizer, "wte.weight", 0, o, {.lr = 0.1f}), 2 - 0.1f * 0.1f * 2) << optimizer;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OptimizerUpdate, testing::Values("ref", "cpu"),
                         [](const auto& p) { return p.param; });

// The values that llm.c's detector was run with: noise, and one outlier.
double noise(uint32_t& x, int i) {
  x = x * 1664525u + 1013904223u;
  return 2.0 + (x >> 8) / 16777216.0 + (i == 200 ? 5 : 0);
}

TEST(OutlierDetector, GivesLlmcsScores) {
  struct Score {
    int i;
    double z;
  };
  const std::array scores = {Score{128, 0.20506970674997729},  Score{129, -0.092849846277579334},
                             Score{199, -0.6694124274683082},  Score{200, 9.5233253322660119},
                             Score{201, -0.79700255541262799}, Score{256, -0.68905361377788643},
                             Score{299, -1.0724278811051742}};
  OutlierDetector detector;
  uint32_t x = 1;
  size_t next = 0;
  for (int i = 0; i < 300; ++i) {
    const double z = detector.update(noise(x, i));
    if (i < 128) {
      ASSERT_TRUE(std::isnan(z)) << i;
    }
    if (next < scores.size() && scores[next].i == i) {
      EXPECT_NEAR(z, scores[next].z, 1e-12) << i;
      ++next;
    }
  }
  EXPECT_EQ(next, scores.size());
}

TEST(OutlierDetector, EqualValuesAreNoOutliers) {
  OutlierDetector detector;
  for (int i = 0; i < 300; ++i) {
    const double z = detector.update(3.0);
    if (i >= 128) {
      ASSERT_EQ(z, 0) << i;
    }
  }
}

TEST(OutlierDetector, GoesOnFromASavedState) {
  for (const int saved : {0, 1, 127, 128, 129, 250}) {
    OutlierDetector whole, first;
    uint32_t x = 1;
    for (int i = 0; i < saved; ++i) {
      const double value = noise(x, i);
      whole.update(value);
      first.update(value);
    }
    OutlierDetector second;
    second.restore(first.state());
    for (int i = saved; i < 400; ++i) {
      const double value = noise(x, i);
      const double expected = whole.update(value), z = second.update(value);
      ASSERT_TRUE(z == expected || (std::isnan(z) && std::isnan(expected))) << "saved at " << saved << ", value " << i;
    }
  }
}

class Metrics : public testing::Test {
 protected:
  TempDir run_;

  std::string log() const { return read_file(run_ / "main.log"); }

  std::vector<json> metrics() const {
    std::vector<json> lines;
    const std::string text = read_file(run_ / "metrics.jsonl");
    EXPECT_TRUE(text.empty() || text.back() == '\n');
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = text.find('\n', begin);
      lines.push_back(json::parse(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return lines;
  }

  void write_steps(MetricsLog& metrics, int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      if (step % 2 == 0) metrics.validation(step, 4.0 - 0.1 * static_cast<double>(step));
      metrics.train({.step = step, .steps = 100, .loss = 5.0 - 0.1 * static_cast<double>(step), .norm = 1, .lr = 1e-3});
    }
  }
};

TEST_F(Metrics, MainLogHasLlmcsForm) {
  MetricsLog metrics(run_.path(), 0);
  metrics.validation(0, 11.00987);
  metrics.train({.step = 0, .steps = 20, .loss = 11.00994, .norm = 15.345, .lr = 0.0003});
  metrics.train({.step = 10, .steps = 20, .loss = 9.12341, .norm = 0.5, .lr = 6e-7});
  metrics.sample(10, "not in this log");
  metrics.validation(10, 9.0123);
  EXPECT_EQ(log(),
            "s:0 tel:11.0099\n"
            "s:0 trl:11.0099 lr:0.000300 norm:15.35\n"
            "s:10 trl:9.1234 lr:0.000001 norm:0.50\n"
            "s:10 tel:9.0123\n");
}

TEST_F(Metrics, EveryLineIsAJsonObjectThatStartsWithItsStep) {
  MetricsLog metrics_log(run_.path(), 0);
  metrics_log.train({.step = 3,
                     .steps = 20,
                     .loss = 2.5,
                     .smoothed_loss = 2.75,
                     .loss_z = kNan,
                     .norm = 0.125,
                     .norm_z = -1.5,
                     .lr = 0.25,
                     .skipped = true,
                     .seconds = 0.5,
                     .tokens_per_second = 1000});
  metrics_log.validation(4, 2.25);
  metrics_log.sample(4, "a \"quoted\"\nline\t\x01");
  const std::vector<json> lines = metrics();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["step"], 3);
  EXPECT_EQ(lines[0]["loss"], 2.5);
  EXPECT_EQ(lines[0]["smoothed_loss"], 2.75);
  EXPECT_TRUE(lines[0]["loss_z"].is_null());
  EXPECT_EQ(lines[0]["norm"], 0.125);
  EXPECT_EQ(lines[0]["norm_z"], -1.5);
  EXPECT_EQ(lines[0]["lr"], 0.25);
  EXPECT_EQ(lines[0]["skipped"], true);
  EXPECT_EQ(lines[0]["seconds"], 0.5);
  EXPECT_EQ(lines[0]["tokens_per_second"], 1000);
  EXPECT_EQ(lines[1], json({{"step", 4}, {"val_loss", 2.25}}));
  EXPECT_EQ(lines[2], json({{"step", 4}, {"sample", "a \"quoted\"\nline\t\x01"}}));
  EXPECT_TRUE(read_file(run_ / "metrics.jsonl").starts_with("{\"step\":3,\"loss\":"));
}

TEST_F(Metrics, NumbersJsonLacksAreNull) {
  MetricsLog metrics_log(run_.path(), 0);
  const double infinity = std::numeric_limits<double>::infinity();
  metrics_log.train({.step = 0, .loss = kNan, .smoothed_loss = kNan, .norm = infinity, .tokens_per_second = infinity});
  metrics_log.validation(1, -infinity);
  const std::vector<json> lines = metrics();
  EXPECT_TRUE(lines[0]["loss"].is_null());
  EXPECT_TRUE(lines[0]["norm"].is_null());
  EXPECT_TRUE(lines[1]["val_loss"].is_null());
}

TEST_F(Metrics, SamplesOfAnyBytesAreValidJson) {
  MetricsLog metrics_log(run_.path(), 0);
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  metrics_log.sample(0, all);
  metrics_log.sample(1, "caf\xc3\xa9 \xe2\x82");
  const std::vector<json> lines = metrics();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["sample"], "caf\xc3\xa9 \xef\xbf\xbd");  // U+FFFD for the half character
}

TEST_F(Metrics, ResumingDropsWhatWillBeMadeAgain) {
  {
    MetricsLog first(run_.path(), 0);
    write_steps(first, 0, 8);
  }
  const std::string log_of_8 = log();
  {
    MetricsLog second(run_.path(), 5);
    EXPECT_EQ(log().find("s:5"), std::string::npos);
    EXPECT_NE(log().find("s:4 trl:"), std::string::npos);
    EXPECT_EQ(metrics().back()["step"], 4);
    write_steps(second, 5, 8);
  }
  EXPECT_EQ(log(), log_of_8);
  EXPECT_EQ(metrics().size(), 12u);
}

TEST_F(Metrics, ResumingDropsAHalfLine) {
  write_file(run_ / "main.log", "s:0 trl:3.0000 lr:0.001000 norm:1.00\ns:1 trl:2.9");
  write_file(run_ / "metrics.jsonl", "{\"step\":0,\"loss\":3}\n{\"step\":1,\"lo");
  { MetricsLog metrics_log(run_.path(), 2); }
  EXPECT_EQ(log(), "s:0 trl:3.0000 lr:0.001000 norm:1.00\n");
  EXPECT_EQ(read_file(run_ / "metrics.jsonl"), "{\"step\":0,\"loss\":3}\n");
}

TEST_F(Metrics, AtStep0LogsStartAnew) {
  write_file(run_ / "main.log", "s:0 trl:3.0000 lr:0.001000 norm:1.00\n");
  write_file(run_ / "metrics.jsonl", "{\"step\":0,\"loss\":3}\n");
  MetricsLog metrics_log(run_.path(), 0);
  EXPECT_EQ(log(), "");
  EXPECT_TRUE(metrics().empty());
}

TEST_F(Metrics, AFolderThatCannotBeWrittenIsNamed) {
  write_file(run_ / "file", "");
  expect_error([&] { MetricsLog(run_ / "file", 0); }, {(run_ / "file").string()});
}

}  // namespace
}  // namespace ink
