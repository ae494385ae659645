// What the tests of training runs share: a small text, a run small enough for milliseconds, and what is left of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/data/shard.h"
#include "ink/train/trainer.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {

// Text with something to learn: sentences of few words, in random order.
inline std::string small_text(size_t bytes) {
  constexpr const char* kWords[] = {"ink", "flows", "the", "pen", "over", "paper", "a", "line", "and", "again"};
  Mt19937 rng(11);
  std::string text;
  while (text.size() < bytes) {
    text += kWords[rng.next_u32() % std::size(kWords)];
    text += rng.next_u32() % 6 == 0 ? ".\n" : " ";
  }
  text.resize(bytes);
  return text;
}

inline void write_shard(const fs::path& path, const std::vector<int32_t>& ids) {
  ShardWriter writer(path);
  writer.write(std::span<const int32_t>(ids));
  writer.commit();
}

inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// metrics.jsonl, without what depends on the clock.
inline std::vector<nlohmann::json> read_metrics(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  const std::string text = read_file(run / "metrics.jsonl");
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    lines.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
    lines.back().erase("seconds");
    lines.back().erase("tokens_per_second");
    begin = end + 1;
  }
  return lines;
}

// Expects two checkpoints to be the same, byte for byte: weights, optimizer state, loader, outlier windows.
inline void expect_same_checkpoint(const fs::path& a, const fs::path& b) {
  ASSERT_TRUE(fs::is_directory(a)) << a;
  ASSERT_TRUE(fs::is_directory(b)) << b;
  ASSERT_EQ(names_in(a), names_in(b));
  for (const std::string& name : names_in(a)) EXPECT_TRUE(read_file(a / name) == read_file(b / name)) << name;
}

class TrainingRun : public testing::Test {
 protected:
  TempDir dir_;
  std::atomic<bool> stop_{false};
  std::string notes_;  // of the last run

  TrainingRun() { write_file(dir_ / "text.txt", small_text(500)); }

  // About 14 steps an epoch; 26 characters or so. Half a batch of validation.
  TrainOptions small(const std::string& name) {
    TrainOptions o;
    o.data = {dir_ / "text.txt"};
    o.out = dir_ / name;
    o.layers = 2;
    o.heads = 2;
    o.channels = 16;
    o.context = 16;
    o.batch = 2;
    o.steps = 20;
    o.lr = 1e-2f;
    o.warmup = 3;
    o.final_lr_fraction = 0.1f;
    o.val_every = 5;
    o.val_batches = 1;
    o.sample_every = 0;
    o.checkpoint_every = 10;
    o.keep = 0;
    return o;
  }

  struct Result {
    std::vector<std::vector<float>> weights;
    double validation_loss = 0;
    int64_t steps = 0;
    std::string printed;
  };

  Result train(const TrainOptions& options, int threads = 1, const char* device = "cpu", DType products = DType::f32) {
    notes_.clear();
    ThreadPool pool(threads);
    const auto ops = make_ops(device, pool, products);
    Trainer trainer(options, *ops, pool, [&](const std::string& line) { notes_ += line + "\n"; });
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::tmpfile(), std::fclose);
    Progress progress(out.get(), false, 1);
    trainer.run(stop_, progress);
    Result result = {.validation_loss = trainer.last_validation_loss(), .steps = trainer.steps()};
    for (const Param& p : trainer.model().params()) result.weights.push_back(values_of(trainer.model(), p.weight));
    std::rewind(out.get());
    for (int c = std::fgetc(out.get()); c != EOF; c = std::fgetc(out.get())) result.printed += static_cast<char>(c);
    return result;
  }

  // The error that a run ends with, "no error" if none. Must be one line.
  std::string error_of(const TrainOptions& options) {
    try {
      train(options);
    } catch (const Error& error) {
      const std::string what = error.what();
      EXPECT_EQ(what.find('\n'), std::string::npos) << what;
      return what;
    }
    return "no error";
  }

  bool is_usage_error(const TrainOptions& options) {
    try {
      train(options);
    } catch (const UsageError&) {
      return true;
    } catch (const Error&) {
    }
    return false;
  }

  // The losses of the training steps, exactly as computed.
  std::vector<double> losses(const std::string& name) {
    std::vector<double> values;
    for (const auto& line : read_metrics(dir_ / name)) {
      if (line.contains("loss")) values.push_back(line["loss"]);
    }
    return values;
  }

  // Puts the run back to how a kill after its checkpoint of `step` and before the next one would leave it: with the
  // logs of later steps.
  void lose_checkpoints_after(const std::string& name, int64_t step) {
    for (const CheckpointEntry& entry : list_checkpoints(dir_ / name)) {
      if (entry.step > step) remove_tree(entry.path);
    }
  }

  // Expects a run to end with the same bits whether it is stopped after `step` steps and resumed, or not.
  void expect_resumes_exactly(const TrainOptions& options, int64_t step) {
    const Result whole = train(options);
    const std::string name = options.out.filename().string();
    const fs::path copy = dir_ / (name + "_resumed");
    fs::copy(options.out, copy, fs::copy_options::recursive);
    lose_checkpoints_after(copy.filename().string(), step);
    ASSERT_TRUE(fs::exists(checkpoint_path(copy, step)));
    TrainOptions resumed = options;
    resumed.out = copy;
    resumed.resume = true;
    const Result second = train(resumed, 2);
    EXPECT_NE(notes_.find("resumed from"), std::string::npos) << notes_;
    EXPECT_TRUE(whole.weights == second.weights);
    expect_same_checkpoint(checkpoint_path(options.out, options.steps), checkpoint_path(copy, options.steps));
    EXPECT_EQ(read_file(options.out / "main.log"), read_file(copy / "main.log"));
    EXPECT_EQ(read_metrics(options.out), read_metrics(copy));
  }
};

}  // namespace ink
