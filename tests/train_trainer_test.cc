// Training runs: that they learn, and that the same seed gives the same bits however a run is executed.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "ink/format/model_io.h"
#include "ink/infer/generator.h"
#include "ink/infer/model.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

TEST_F(TrainingRun, LearnsASmallText) {
  TrainOptions o = small("run");
  o.steps = 150;
  o.val_every = 50;
  o.checkpoint_every = 0;
  const Result result = train(o);
  const std::vector<double> all = losses("run");
  ASSERT_EQ(all.size(), 150u);
  EXPECT_GT(all.front(), 2.5);
  EXPECT_LT(all.back(), 2.0);
  EXPECT_LT(result.validation_loss, 2.2);
  EXPECT_TRUE(list_checkpoints(o.out).empty());
}

TEST_F(TrainingRun, LeavesLogsAndCheckpoints) {
  TrainOptions o = small("run");
  o.steps = 12;
  o.checkpoint_every = 5;
  o.sample_every = 6;
  o.sample_tokens = 20;
  o.saved_options = "# options\n";
  const Result result = train(o);
  EXPECT_EQ(names_in(o.out), (std::vector<std::string>{"data", "main.log", "metrics.jsonl", "run.json", "run.toml",
                                                       "step_00000005", "step_00000010", "step_00000012"}));
  EXPECT_EQ(read_file(o.out / "run.toml"), "# options\n");
  int steps = 0, validations = 0, samples = 0;
  for (const auto& line : read_metrics(o.out)) {
    steps += line.contains("loss");
    validations += line.contains("val_loss");
    samples += line.contains("sample");
  }
  EXPECT_EQ(steps, 12);
  EXPECT_EQ(validations, 4);  // before steps 0, 5, 10 and at the end
  EXPECT_EQ(samples, 2);
  const std::string log = read_file(o.out / "main.log");
  EXPECT_TRUE(log.starts_with("s:0 tel:")) << log;
  EXPECT_NE(log.find("s:11 trl:"), std::string::npos) << log;
  EXPECT_NE(log.find(fmt::format("s:12 tel:{:.4f}\n", result.validation_loss)), std::string::npos) << log;
  EXPECT_NE(result.printed.find("--- sample at step 12"), std::string::npos);
  EXPECT_EQ(result.printed.find('\x1b'), std::string::npos);
}

TEST_F(TrainingRun, KeepsTheNewestCheckpointsAndTheMajorOnes) {
  TrainOptions o = small("run");
  o.checkpoint_every = 3;
  o.keep = 2;
  o.major_every = 6;
  o.val_every = 0;
  train(o);
  EXPECT_EQ(names_in(o.out),
            (std::vector<std::string>{"data", "main.log", "metrics.jsonl", "run.json", "run.toml", "step_00000006",
                                      "step_00000012", "step_00000018", "step_00000020"}));
}

TEST_F(TrainingRun, ItsCheckpointGeneratesText) {
  TrainOptions o = small("run");
  train(o);
  ThreadPool pool(1);
  const auto ops = make_ops("cpu", pool);
  const LoadedModel loaded = load_model(resolve_model_path(o.out), *ops);
  std::vector<int32_t> ids;
  loaded.tokenizer->encode("the ", ids);
  EXPECT_EQ(generate(*loaded.model, {.max_tokens = 30}, -1, ids, [](const GeneratedToken&) { return true; }), 30);
  EXPECT_TRUE(loaded.tokenizer->decode(ids).starts_with("the "));
}

TEST_F(TrainingRun, AnyNumberOfThreadsGivesTheSameBits) {
  TrainOptions o = small("one");
  o.channels = 48;
  o.context = 32;
  o.batch = 3;
  o.checkpoint_every = 0;
  write_file(dir_ / "text.txt", small_text(2000));
  const Result one = train(o, 1);
  o.out = dir_ / "two";
  const Result two = train(o, 2);
  o.out = dir_ / "three";
  const Result three = train(o, 3);
  EXPECT_TRUE(one.weights == two.weights);
  EXPECT_TRUE(one.weights == three.weights);
  EXPECT_EQ(read_metrics(dir_ / "one"), read_metrics(dir_ / "two"));
  EXPECT_EQ(read_metrics(dir_ / "one"), read_metrics(dir_ / "three"));
}

TEST_F(TrainingRun, RefAndCpuAgree) {
  TrainOptions o = small("cpu");
  o.checkpoint_every = 0;
  train(o);
  o.out = dir_ / "ref";
  train(o, 1, "ref");
  const std::vector<double> cpu = losses("cpu"), ref = losses("ref");
  ASSERT_EQ(cpu.size(), ref.size());
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(cpu[i], ref[i], 1e-3) << "step " << i;
}

TEST_F(TrainingRun, TheSeedDecides) {
  TrainOptions o = small("a");
  o.checkpoint_every = 0;
  o.steps = 3;
  const Result a = train(o);
  o.out = dir_ / "b";
  const Result b = train(o);
  o.out = dir_ / "c";
  o.seed = 43;
  const Result c = train(o);
  EXPECT_TRUE(a.weights == b.weights);
  EXPECT_FALSE(a.weights == c.weights);
}

TEST_F(TrainingRun, RecomputingGivesTheSameBits) {
  TrainOptions o = small("none");
  o.checkpoint_every = 0;
  const Result none = train(o);
  o.out = dir_ / "block";
  o.recompute = Recompute::block;
  const Result block = train(o);
  EXPECT_TRUE(none.weights == block.weights);
  EXPECT_EQ(losses("none"), losses("block"));
}

TEST_F(TrainingRun, AccumulationEqualsALargerBatch) {
  TrainOptions o = small("large");
  o.order = "sequential";
  o.batch = 4;
  o.steps = 6;
  o.val_every = o.checkpoint_every = 0;
  train(o);
  o.out = dir_ / "accumulated";
  o.batch = 2;
  o.total_batch = 64;
  train(o);
  const std::vector<double> large = losses("large"), accumulated = losses("accumulated");
  ASSERT_EQ(large.size(), 6u);
  ASSERT_EQ(accumulated.size(), 6u);
  for (size_t i = 0; i < large.size(); ++i) EXPECT_NEAR(large[i], accumulated[i], 1e-4) << "step " << i;
  EXPECT_NE(losses("accumulated")[0], losses("accumulated")[1]);
}

TEST_F(TrainingRun, OverfitsOneBatch) {
  TrainOptions o = small("run");
  o.overfit = true;
  o.batch = 1;
  o.steps = 150;
  o.val_every = 50;
  o.checkpoint_every = 0;
  const Result result = train(o);
  EXPECT_LT(losses("run").back(), 0.5);
  EXPECT_LT(result.validation_loss, 0.5);  // of the same batch
}

TEST_F(TrainingRun, WithoutAFolderNothingIsWritten) {
  write_shard(dir_ / "train.bin", random_ids(300, 50, 1));
  TrainOptions o = small("none");
  o.data.clear();
  o.out.clear();
  o.train_shards = (dir_ / "train.bin").string();
  o.vocab = 50;
  o.sample_every = 10;
  const Result result = train(o);
  EXPECT_EQ(result.steps, 20);
  EXPECT_TRUE(std::isnan(result.validation_loss));
  EXPECT_EQ(names_in(dir_.path()), (std::vector<std::string>{"text.txt", "train.bin"}));
}

TEST_F(TrainingRun, OneEpochIsTheDefault) {
  write_shard(dir_ / "train.bin", random_ids(330, 50, 1));
  TrainOptions o = small("run");
  o.data.clear();
  o.train_shards = (dir_ / "train.bin").string();
  o.vocab = 50;
  o.steps = -1;
  o.checkpoint_every = 0;
  EXPECT_EQ(train(o).steps, 10);  // 330 tokens of 32
}

TEST_F(TrainingRun, NoStepsOnlyEvaluate) {
  TrainOptions o = small("run");
  o.steps = o.warmup = 0;
  const Result result = train(o);
  EXPECT_GT(result.validation_loss, 2);
  EXPECT_TRUE(losses("run").empty());
}

// Same bits for 20 steps and for 10 + resume + 10.

class Resume : public TrainingRun, public testing::WithParamInterface<std::tuple<const char*, const char*>> {};

TEST_P(Resume, IsExactForEveryTokenizerAndOptimizer) {
  TrainOptions o = small("run");
  o.tokenizer = std::get<0>(GetParam());
  o.optimizer = std::get<1>(GetParam());
  o.optimizer_options.weight_decay = 0.1f;
  if (o.tokenizer == "gpt2") {  // a vocabulary of 50,257: keep the rest small
    o.layers = 1;
    o.channels = 4;
    o.context = 4;
  }
  expect_resumes_exactly(o, 10);
}

INSTANTIATE_TEST_SUITE_P(All, Resume,
                         testing::Combine(testing::Values("char", "byte", "gpt2"), testing::Values("adamw", "sgd")),
                         [](const auto& p) { return std::string(std::get<0>(p.param)) + "_" + std::get<1>(p.param); });

TEST_F(TrainingRun, ResumesExactlyWithAccumulation) {
  TrainOptions o = small("run");
  o.total_batch = 96;
  expect_resumes_exactly(o, 10);
}

TEST_F(TrainingRun, ResumesExactlyWithRecomputing) {
  TrainOptions o = small("run");
  o.recompute = Recompute::block;
  o.checkpoint_every = 7;
  expect_resumes_exactly(o, 7);
}

TEST_F(TrainingRun, ResumesExactlyInEveryOrder) {
  for (const char* order : {"batches", "sequences", "sequential"}) {
    SCOPED_TRACE(order);
    TrainOptions o = small(order);
    o.order = order;
    o.checkpoint_every = 26;
    o.steps = 40;  // some epochs of 14 steps
    expect_resumes_exactly(o, 26);
  }
}

TEST_F(TrainingRun, ResumesExactlyWithManyShards) {
  for (int i = 0; i < 4; ++i) write_shard(dir_ / fmt::format("train_{}.bin", i), random_ids(150, 50, 7u + i));
  write_shard(dir_ / "val.bin", random_ids(150, 50, 99));
  TrainOptions o = small("run");
  o.data.clear();
  o.train_shards = (dir_ / "train_*.bin").string();
  o.val_shards = (dir_ / "val.bin").string();
  o.vocab = 50;
  o.sample_every = 10;
  expect_resumes_exactly(o, 10);
}

TEST_F(TrainingRun, ResumesExactlyWithSamplesAndOverfitting) {
  TrainOptions o = small("run");
  o.overfit = true;
  o.batch = 1;
  o.sample_every = 3;
  o.sample_tokens = 10;
  expect_resumes_exactly(o, 10);
}

TEST_F(TrainingRun, ResumesExactlyWithOutlierWindows) {
  TrainOptions o = small("run");
  o.steps = 170;
  o.checkpoint_every = 140;
  o.val_every = 0;
  o.skip_loss_z = 1;
  o.skip_grad_z = 1.5f;
  expect_resumes_exactly(o, 140);
  int skipped = 0;
  for (const auto& line : read_metrics(o.out)) skipped += line["skipped"] == true;
  EXPECT_GT(skipped, 0);
  EXPECT_LT(skipped, 42);
}

TEST_F(TrainingRun, AnOutlierIsNotLearnt) {
  TrainOptions o = small("long");
  o.schedule = "constant";
  o.lr = 1e-6f;  // the loss hardly falls: what its z-score shows is noise
  o.warmup = 0;
  o.steps = 160;
  o.val_every = o.checkpoint_every = 0;
  o.skip_loss_z = 1;
  train(o);
  int64_t outlier = -1;
  for (const auto& line : read_metrics(o.out)) {
    const bool above = line["loss_z"].is_number() && line["loss_z"] > 1;
    EXPECT_EQ(line["skipped"], above) << line;
    if (above && outlier < 0) outlier = line["step"];
  }
  ASSERT_GE(outlier, 128);
  const auto weights_after = [&](int64_t steps) {
    o.out = dir_ / fmt::format("after{}", steps);
    o.steps = steps;
    return train(o).weights;
  };
  const auto before = weights_after(outlier);
  EXPECT_TRUE(before == weights_after(outlier + 1));
  EXPECT_FALSE(before == weights_after(outlier - 1));
}

TEST_F(TrainingRun, AStopSavesAndReturns) {
  TrainOptions o = small("run");
  o.steps = 1 << 20;
  o.val_every = 0;
  o.checkpoint_every = 1 << 20;
  std::thread stopper([&] {  // after the seventh step
    std::string log;
    for (int i = 0; i < 20000 && log.find("s:6 ") == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (fs::exists(o.out / "main.log")) log = read_file(o.out / "main.log");
    }
    stop_ = true;
  });
  train(o);
  stopper.join();
  const auto done = static_cast<int64_t>(losses("run").size());
  EXPECT_GE(done, 7);
  EXPECT_LT(done, 1 << 20);
  const std::vector<CheckpointEntry> checkpoints = list_checkpoints(o.out);
  ASSERT_EQ(checkpoints.size(), 1u);
  EXPECT_EQ(checkpoints[0].step, done);
  EXPECT_NE(notes_.find("--resume"), std::string::npos) << notes_;

  // And goes on from there.
  stop_ = false;
  o.resume = true;
  o.steps = done + 3;
  train(o);
  EXPECT_EQ(static_cast<int64_t>(losses("run").size()), done + 3);
}

TEST_F(TrainingRun, AStopBeforeTheFirstStepSavesNothing) {
  stop_ = true;
  train(small("run"));
  EXPECT_TRUE(list_checkpoints(dir_ / "run").empty());
  EXPECT_TRUE(losses("run").empty());
}

TEST_F(TrainingRun, AFinishedRunResumesToNothing) {
  TrainOptions o = small("run");
  const Result first = train(o);
  const std::string log = read_file(o.out / "main.log");
  o.resume = true;
  const Result second = train(o);
  EXPECT_TRUE(first.weights == second.weights);
  EXPECT_EQ(read_file(o.out / "main.log"), log);
  o.steps = 15;  // already beyond
  EXPECT_TRUE(is_usage_error(o));
  const std::string error = error_of(o);
  EXPECT_NE(error.find("at step 20 already, beyond --steps 15"), std::string::npos) << error;
  EXPECT_EQ(list_checkpoints(o.out).back().step, 20);
}

TEST_F(TrainingRun, WeightsThatDivergedAreNotSaved) {
  TrainOptions o = small("run");
  o.steps = 1;
  o.clip = 0;
  o.warmup = 0;
  o.lr = 1e37f;  // finite weights, but no loss
  const std::string error = error_of(o);
  EXPECT_NE(error.find("loss is"), std::string::npos) << error;
  EXPECT_TRUE(list_checkpoints(o.out).empty());
}

TEST_F(TrainingRun, NanStopsWithStepAndTensorAndKeepsTheCheckpoint) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  const fs::path good = dir_ / "good";
  fs::copy(checkpoint_path(o.out, 10), good, fs::copy_options::recursive);
  o.resume = true;
  o.steps = 30;
  o.lr = 1e30f;
  o.schedule = "constant";
  o.keep = 1;
  const std::string error = error_of(o);
  EXPECT_NE(error.find("step 11"), std::string::npos) << error;
  EXPECT_NE(error.find("not finite is h.0."), std::string::npos) << error;
  EXPECT_NE(error.find("step_00000010"), std::string::npos) << error;
  ASSERT_EQ(list_checkpoints(o.out).size(), 1u);
  expect_same_checkpoint(checkpoint_path(o.out, 10), good);
  EXPECT_EQ(losses("run").size(), 11u);
}

TEST_F(TrainingRun, WeightsThatAreNotFiniteAreNotSaved) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  o.resume = true;
  o.steps = 20;
  o.lr = 3e38f;
  o.schedule = "constant";
  o.optimizer_options.weight_decay = 3e38f;  // the product overflows in the update itself
  o.checkpoint_every = 1;
  o.val_every = 0;
  o.keep = 1;
  const std::string error = error_of(o);
  EXPECT_NE(error.find("step 10"), std::string::npos) << error;
  EXPECT_NE(error.find("wte.weight"), std::string::npos) << error;
  ASSERT_EQ(list_checkpoints(o.out).size(), 1u);
  EXPECT_EQ(list_checkpoints(o.out)[0].step, 10);
}

TEST_F(TrainingRun, AnUntiedModelResumes) {
  make_directories(dir_ / "model");
  ThreadPool pool(1);
  const auto ops = make_ops("ref", pool);
  const Gpt2Config config = {.context = 16, .vocab = 256, .layers = 2, .heads = 2, .channels = 16, .tied = false};
  save_huggingface(dir_ / "model", *make_model(*ops, {}, config));
  make_byte_tokenizer()->save(dir_ / "model");
  TrainOptions o = small("run");
  o.model = (dir_ / "model").string();
  expect_resumes_exactly(o, 10);
  EXPECT_FALSE(read_model_config(list_checkpoints(o.out).back().path).tied);
}

TEST_F(TrainingRun, APoisonedModelIsNamed) {
  make_directories(dir_ / "model");
  ThreadPool pool(1);
  const auto ops = make_ops("ref", pool);
  const Gpt2Config config = {.context = 16, .vocab = 256, .layers = 2, .heads = 2, .channels = 16};
  const auto model = make_model(*ops, {}, config);
  for (const Param& p : model->params()) {
    if (p.name == "h.1.mlp.c_fc.bias") ops->fill(p.weight, std::numeric_limits<float>::infinity());
  }
  save_huggingface(dir_ / "model", *model);
  make_byte_tokenizer()->save(dir_ / "model");
  TrainOptions o = small("run");
  o.model = (dir_ / "model").string();
  const std::string error = error_of(o);
  EXPECT_NE(error.find("h.1.mlp.c_fc.bias"), std::string::npos) << error;
  EXPECT_TRUE(list_checkpoints(o.out).empty());
}

// The GPUs' kernels, whole steps of them.
TEST_F(TrainingRun, TheEmulatedGpuGivesTheReferencesLosses) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Recompute recompute : {Recompute::none, Recompute::block}) {
      TrainOptions o = small(fmt::format("ref_{}_{}", name_of(dtype), static_cast<int>(recompute)));
      o.steps = 3;
      o.total_batch = 64;  // two passes a step
      o.val_every = 3;
      o.checkpoint_every = 0;
      o.recompute = recompute;
      const Result expected = train(o, 1, "ref", dtype);
      const std::vector<double> expected_losses = losses(o.out.filename().string());
      o.out += "_emu";
      const Result got = train(o, 1, "emu", dtype);
      const std::vector<double> got_losses = losses(o.out.filename().string());
      ASSERT_EQ(got_losses.size(), 3u);
      // Where activations are stored as bf16, the reference rounds the inputs of products alone.
      const double bound = dtype == DType::f32 ? 1e-5 : 1e-2;
      for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(got_losses[i], expected_losses[i], bound) << name_of(dtype);
      EXPECT_NEAR(got.validation_loss, expected.validation_loss, bound);
    }
  }
}

TEST_F(TrainingRun, StochasticRoundingIsTheSameAfterResuming) {
  TrainOptions o = small("run");
  o.steps = 4;
  o.val_every = 0;
  o.checkpoint_every = 2;
  const std::vector<std::vector<float>> nearest = train(o, 1, "emu", DType::bf16).weights;
  o.out = dir_ / "stochastic";
  o.stochastic_rounding = true;
  const std::vector<std::vector<float>> stochastic = train(o, 1, "emu", DType::bf16).weights;
  EXPECT_NE(nearest, stochastic);
  lose_checkpoints_after("stochastic", 2);
  o.resume = true;
  EXPECT_EQ(train(o, 1, "emu", DType::bf16).weights, stochastic);
  o.resume = false;
  o.out = dir_ / "cpu";
  EXPECT_TRUE(is_usage_error(o));  // nothing is rounded there
}

}  // namespace
}  // namespace ink
