// ink train as a program: options, option files, logs, signals.
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli_process.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

using Words = std::vector<std::string>;

class CliTrain : public Cli {
 protected:
  const Words size_ = {"--layers", "2", "--heads", "2", "--channels", "16", "--context", "16", "--batch", "2"};
  const Words quiet_ = {"--sample-every", "0", "--checkpoint-every", "0", "--val-batches", "1"};
  const Words small_ = Words{"train", "--data", "text.txt", "--out", "run", "--steps", "4"} + size_ + quiet_;

  CliTrain() { write_file(dir_ / "text.txt", small_text(500)); }

  std::string file(const fs::path& name) { return read_file(dir_ / name); }

  // run.toml after a run with these options.
  std::string options_after(const Words& words) {
    ok(words);
    const std::string text = file("run/run.toml");
    remove_tree(dir_ / "run");
    return text;
  }
};

TEST_F(CliTrain, WritesLogsForPeopleAndPrograms) {
  const std::string out = ok(small_ + Words{"--log-every", "2", "--lr", "1e-3"});
  EXPECT_EQ(out.find('\x1b'), std::string::npos);
  EXPECT_EQ(out.find('\r'), std::string::npos);
  for (const char* part :
       {"4 steps of 1 x 2 x 16 tokens", "parameters: 2 layers", "step 1/4 | loss ", "step 3/4 | loss ",
        "step 4/4 | loss ", "step 0 | validation loss ", "step 4 | validation loss "}) {
    EXPECT_NE(out.find(part), std::string::npos) << part << " is not in " << out;
  }
  EXPECT_EQ(out.find("step 2/4"), std::string::npos);

  const std::string log = file("run/main.log");
  std::istringstream lines(log);
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  ASSERT_EQ(all.size(), 6u) << log;
  int step = 0;
  float loss = 0, lr = 0, norm = 0;
  EXPECT_EQ(std::sscanf(all[0].c_str(), "s:%d tel:%f", &step, &loss), 2);
  EXPECT_EQ(std::sscanf(all[1].c_str(), "s:%d trl:%f lr:%f norm:%f", &step, &loss, &lr, &norm), 4);
  EXPECT_EQ(all[1].substr(0, 8), "s:0 trl:");
  EXPECT_NE(all[1].find(" lr:0.001000 norm:"), std::string::npos);
  EXPECT_EQ(all[5].substr(0, 8), "s:4 tel:");
  EXPECT_EQ(read_metrics(dir_ / "run").size(), 6u);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which take memory of their own
TEST_F(CliTrain, ADryRunForetellsTheMemoryOfARunWithCheckpoints) {
  for (const char* recompute : {"none", "block"}) {
    const Words run = small_ + Words{"--overwrite", "--layers", "4",    "--heads",     "8",      "--channels",
                                     "384",         "--vocab",  "5000", "--steps",     "2",      "--checkpoint-every",
                                     "1",           "--batch",  "4",    "--recompute", recompute};
    const std::string plan = ok(run + Words{"--dry-run"});
    const size_t at = plan.find("peak");
    ASSERT_NE(at, std::string::npos) << plan;
    std::istringstream line(plan.substr(at));
    std::string word;
    size_t tensors = 0, foretold = 0;
    line >> word >> tensors >> foretold;
    ASSERT_GT(foretold, size_t{150} << 20) << plan;
    const Output done = ink(run);
    ASSERT_EQ(done.status, 0) << done.err;
    // Not in the plan: the device's own working memory and some pieces of tensors on their way to a file.
    EXPECT_GT(done.peak_memory, foretold / 100 * 97) << plan;
    EXPECT_LT(done.peak_memory, foretold + (size_t{45} << 20)) << plan;
  }
}
#endif

TEST_F(CliTrain, ADryRunPrintsThePlanAndWritesNothing) {
  const std::string out = ok(small_ + Words{"--dry-run"});
  for (const char* part : {"parameters", "gradients", "activations"}) {
    EXPECT_NE(out.find(part), std::string::npos) << part << " is not in " << out;
  }
  EXPECT_FALSE(fs::exists(dir_ / "run"));
  fails(1, small_ + Words{"--dry-run", "--layers", "1000", "--channels", "65536"}, {"GiB"});
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, APlanBeyondTheMemoryIsRefused) {
  fails(1, small_ + Words{"--layers", "1000", "--channels", "65536"}, {"needs", "GiB"});
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, WithoutOutTheRunIsNamedAfterTheData) {
  make_directories(dir_ / "poems");
  write_file(dir_ / "poems/one.txt", small_text(500));
  ok(Words{"train", "--data", "text.txt", "--steps", "1"} + size_ + quiet_);
  ok(Words{"train", "--data", "poems", "--steps", "1"} + size_ + quiet_);
  EXPECT_TRUE(fs::exists(dir_ / "runs/text/main.log"));
  EXPECT_TRUE(fs::exists(dir_ / "runs/poems/main.log"));
}

TEST_F(CliTrain, TextTakesNoTokenizerFromTheWorkingFolder) {
  make_byte_tokenizer()->save(dir_.path());
  const std::string out = ok(small_);
  EXPECT_NE(out.find("char tokenizer"), std::string::npos) << out;
}

// Bad usage.

TEST_F(CliTrain, UnknownOptionsNameTheNearest) {
  fails(2, small_ + Words{"--leers", "3"}, {"--leers", "did you mean --layers"});
  fails(2, small_ + Words{"--leers=3"}, {"--leers", "did you mean --layers"});
  fails(2, small_ + Words{"--quite-another"}, {"--quite-another", "--help"});
  fails(2, small_ + Words{"-nq", "3"}, {"-nq", "did you mean -n"});
  fails(2, small_ + Words{"--optimizer", "adam"}, {"adam", "did you mean 'adamw'"});
  fails(2, small_ + Words{"--schedule", "cosin"}, {"cosin", "did you mean 'cosine'"});
  fails(2, small_ + Words{"--model", "gpt2-larg"}, {"gpt2-larg", "gpt2-large"});
  fails(2, small_ + Words{"--device", "gpu9"}, {"gpu9", "cpu", "ref"});
  fails(2, small_ + Words{"--recompute", "all"}, {"--recompute", "block"});
  fails(2, small_ + Words{"--order", "random"}, {"order", "random", "sequences"});
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, MalformedValuesAreNamed) {
  for (const char* value : {"abc", "1.5", "", "1e3", "99999999999999999999", "0x", "--lr"}) {
    fails(2, small_ + Words{"--batch", value}, {"--batch"});
  }
  fails(2, small_ + Words{"--batch"}, {"--batch"});
  for (const char* value : {"fast", "1e-3x", ""}) fails(2, small_ + Words{"--lr", value}, {"--lr"});
  for (const char* value : {"nan", "inf", "-1"}) fails(2, small_ + Words{"--lr", value}, {"--lr"});
  fails(2, small_ + Words{"--seed", "-1"}, {"--seed"});
  fails(2, small_ + Words{"--seed", "4294967296"}, {"--seed"});
  fails(2, small_ + Words{"--threads", "-1"}, {"--threads"});
  fails(2, small_ + Words{"-b", "two"}, {"--batch"});
  fails(2, small_ + Words{"-b"}, {"-b"});
  fails(2, small_ + Words{"-y", "2"}, {"-y"});
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, OptionsOutOfRangeAreNamed) {
  for (const Words& option : {Words{"--batch", "0"},
                              {"--steps", "-2"},
                              {"--beta1", "1"},
                              {"--epsilon", "0"},
                              {"--clip", "-1"},
                              {"--warmup", "5"},
                              {"--val-batches", "0"},
                              {"--keep", "-1"},
                              {"--val-fraction", "1"},
                              {"--final-lr-frac", "2"},
                              {"--skip-loss-z", "-1"},
                              {"--log-every", "0"},
                              {"--seq-len", "17"},
                              {"--total-batch", "33"}}) {
    fails(2, small_ + option, {option[0]});
  }
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, ContradictionsAreNamed) {
  fails(2, small_ + Words{"--resume", "--overwrite"}, {"--resume", "--overwrite"});
  fails(2, small_ + Words{"--train-data", "x.bin"}, {"--data", "--train-data"});
  fails(2, small_ + Words{"--val-data", "x.bin"}, {"--data", "--val-data"});
  fails(2, small_ + Words{"--momentum", "0.5"}, {"--momentum", "adamw"});
  fails(2, small_ + Words{"--optimizer", "sgd", "--beta2", "0.5"}, {"--beta2", "sgd"});
  fails(2, {"train"}, {"--data"});
  fails(2, {"train", "--overfit", "--train-data", "x.bin"}, {"--overfit"});
  fails(2, small_ + Words{"stray"}, {"stray"});
}

TEST_F(CliTrain, TheLastOfEqualOptionsCounts) {
  EXPECT_NE(ok(small_ + Words{"--steps", "2", "--steps=3"}).find("3 steps of"), std::string::npos);
}

TEST_F(CliTrain, BadInputIsNotBadUsage) {
  write_file(dir_ / "empty.txt", "");
  make_directories(dir_ / "folder");
  const Words tail = size_ + quiet_;
  fails(1, Words{"train", "--data", "none.txt"} + tail, {"none.txt"});
  fails(1, Words{"train", "--data", "empty.txt"} + tail, {"empty.txt"});
  fails(1, Words{"train", "--data", "folder"} + tail, {"folder"});
  fails(1, Words{"train", "--train-data", "none_*.bin", "--vocab", "50"} + tail, {"none_*.bin"});
  fails(1, Words{"train", "--data", "text.txt", "--model", "none/model"} + quiet_, {"none/model"});
  fails(1, Words{"train", "--data", "text.txt", "--out", "text.txt/run"} + tail, {"text.txt"});
  fails(1, small_ + Words{"--context", "4096"}, {"tokens", "--seq-len"});
  fails(2, small_ + Words{"--channels", "15"}, {"channels", "15"});
  fails(1, small_ + Words{"--config", "none.toml"}, {"none.toml"});
}

// llm.c's flags.

TEST_F(CliTrain, LlmcsCheckpointsAreAllKept) {
  ok(small_ + Words{"-n", "1"});
  EXPECT_EQ(list_checkpoints(dir_ / "run").size(), 4u);
  ok(small_ + Words{"-n", "1", "-nk", "2", "-y", "0"});
  EXPECT_EQ(list_checkpoints(dir_ / "run").size(), 2u);
  ok({"train", "-y", "1", "-o", "run", "-n", "1", "-x", "8"});
  EXPECT_EQ(list_checkpoints(dir_ / "run").size(), 2u) << "a resumed run keeps as many as before";
}

TEST_F(CliTrain, LlmcsFlagsMeanTheSame) {
  write_shard(dir_ / "train.bin", random_ids(400, 50, 1));
  write_shard(dir_ / "val.bin", random_ids(400, 50, 2));
  const Words llmc = {"train", "-i",  "train.bin", "-j",  "val.bin", "-e",  "d12",   "-o", "run", "-n",
                      "3",     "-nk", "2",         "-nm", "6",       "-b",  "2",     "-t", "8",   "-d",
                      "32",    "-x",  "7",         "-k",  "wsd",     "-l",  "0.001", "-u", "2",   "-q",
                      "0.5",   "-c",  "0.25",      "-sl", "3.5",     "-sg", "4.5",   "-v", "5",   "-m",
                      "2",     "-s",  "6",         "-g",  "5",       "-a",  "0",     "-r", "1"};
  const Words ignored = {"-h",  "0", "-f",  "1", "-w",  "1", "-ge", "0",   "-z",  "1", "-lg", "-1",
                         "-pn", "1", "-pr", "0", "-pg", "8", "-pi", "mpi", "-ps", "x", "-pf", "y"};
  const Words own = {"--layers", "1", "--heads", "2", "--channels", "8", "--vocab", "50"};
  const Words named = {"train",     "--train-data",
                       "train.bin", "--val-data",
                       "val.bin",   "--model",
                       "d12",       "--out",
                       "run",       "--checkpoint-every",
                       "3",         "--keep",
                       "2",         "--major-every",
                       "6",         "--batch",
                       "2",         "--seq-len",
                       "8",         "--total-batch",
                       "32",        "--steps",
                       "7",         "--schedule",
                       "wsd",       "--lr",
                       "0.001",     "--warmup",
                       "2",         "--final-lr-frac",
                       "0.5",       "--weight-decay",
                       "0.25",      "--skip-loss-z",
                       "3.5",       "--skip-grad-z",
                       "4.5",       "--val-every",
                       "5",         "--val-batches",
                       "2",         "--sample-every",
                       "6",         "--sample-tokens",
                       "5",         "--recompute",
                       "1"};
  const std::string expected = options_after(named + own);
  for (const char* part : {"train-data = \"train.bin\"", "total-batch = 32", "lr = 0.001", "schedule = \"wsd\"",
                           "skip-grad-z = 4.5", "recompute = "}) {
    EXPECT_NE(expected.find(part), std::string::npos) << part << " is not in " << expected;
  }
  EXPECT_EQ(options_after(llmc + own), expected);
  EXPECT_EQ(options_after(llmc + own + ignored), expected);
}

TEST_F(CliTrain, LlmcsSwitchesMeanTheSame) {
  write_shard(dir_ / "train.bin", random_ids(400, 50, 1));
  write_shard(dir_ / "val.bin", random_ids(400, 50, 2));
  const Words start = {"train", "-i", "train.bin", "-j", "val.bin", "-o", "run", "-x", "3", "-b", "2", "-s", "0"};
  const Words own = {"--layers", "1", "--heads", "2", "--channels", "8", "--context", "8", "--vocab", "50"};
  ok(start + own);
  fails(2, start + own, {"--resume", "--overwrite"});
  ok(start + own + Words{"-y", "0"});
  const Output resumed = ink(start + own + Words{"-y", "1", "-x", "5"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_NE(resumed.out.find("resumed from"), std::string::npos);
  ok(start + own + Words{"-y", "0", "-a", "1"});
  EXPECT_NE(file("run/run.toml").find("overfit = true"), std::string::npos) << file("run/run.toml");
  fails(2, start + own + Words{"-pn", "8"}, {"-pn"});
}

// Option files.

TEST_F(CliTrain, AnOptionFileIsTheCommandLine) {
  write_file(dir_ / "more text.txt", small_text(300));
  const std::string shared = options_after(Words{"train", "--data", "text.txt", "more text.txt"} +
                                           Words{"--out", "run", "--steps", "3", "--lr", "1e-2"} + size_ + quiet_ +
                                           Words{"--schedule", "linear"});
  write_file(dir_ / "run.toml",
             "# A comment\n"
             "data = [\"text.txt\", 'more text.txt']\n"
             "out = \"run\"\n\n"
             "steps = 3  # another\n"
             "lr = 1e-2\n"
             "layers = 2\nheads = 2\nchannels = 16\ncontext = 16\nbatch = 2\n"
             "sample-every = 0\ncheckpoint-every = 0\nval-batches = 1\n"
             "schedule = \"linear\"\n");
  EXPECT_EQ(options_after({"train", "--config", "run.toml"}), shared);
  write_file(dir_ / "section.toml", "[train]\n" + file("run.toml"));
  EXPECT_EQ(options_after({"train", "--config", "section.toml"}), shared);
  EXPECT_EQ(options_after({"train", "--config=section.toml"}), shared);
}

TEST_F(CliTrain, TheCommandLineOverridesTheOptionFile) {
  write_file(dir_ / "options.toml", "steps = 9\nbatch = 4\nlr = 0.5\ndata = \"other.txt\"\noverfit = false\n");
  const std::string options = options_after(small_ + Words{"--config", "options.toml"});
  EXPECT_NE(options.find("steps = 4\n"), std::string::npos) << options;
  EXPECT_NE(options.find("batch = 2\n"), std::string::npos) << options;
  EXPECT_NE(options.find("lr = 0.5\n"), std::string::npos) << options;
  EXPECT_NE(options.find("data = \"text.txt\"\n"), std::string::npos) << options;
  EXPECT_NE(options_after(small_ + Words{"--config", "options.toml", "-b", "3"}).find("batch = 3\n"),
            std::string::npos);
}

TEST_F(CliTrain, WhatRunTomlHoldsIsAnOptionFile) {
  const std::string options =
      options_after(small_ + Words{"--weight-decay", "0.125", "--optimizer", "sgd", "--overfit"});
  write_file(dir_ / "again.toml", options);
  EXPECT_EQ(options_after({"train", "--config", "again.toml"}), options);
}

TEST_F(CliTrain, AnEmptyRunFolderSavesNothing) {
  write_file(dir_ / "here", "");
  const Words shards = {"-i", "data/train_000000.bin", "-x", "2", "-v", "0", "-s", "0", "-o", ""};
  ok({"data", "prepare", "text.txt", "--tokenizer", "byte", "--out", "data"});
  const auto entries = std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator());
  ok(Words{"train"} + shards + size_);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()), entries);
}

TEST_F(CliTrain, MistakesInOptionFilesAreNamed) {
  const auto with = [&](const std::string& text, std::initializer_list<std::string_view> parts) {
    write_file(dir_ / "bad.toml", text);
    fails(2, small_ + Words{"--config", "bad.toml"}, parts);
  };
  with("leers = 3\n", {"bad.toml", "leers", "did you mean layers"});
  with("[sample]\ntemperature = 1\n", {"bad.toml", "sample.temperature"});
  with("config = \"other.toml\"\n", {"bad.toml", "config"});
  with("batch-size = 3\n", {"bad.toml", "batch-size"});
  with("warmup = \"many\"\n", {"--warmup"});
  with("\nwarmup = many\n", {"bad.toml: line 2"});
  with("lr = 1979-05-27\n", {"bad.toml: line 1", "lr"});
  with("lr = 1\nlr = 2\n", {"bad.toml: line 2"});
  with("beta1 = 7\n", {"--beta1"});
  with("momentum = 0.5\n", {"--momentum", "adamw"});
  with("this is no option file\n", {"bad.toml"});
  EXPECT_FALSE(fs::exists(dir_ / "run"));
}

TEST_F(CliTrain, PathsOfAnyCharactersSurviveTheOptionFile) {
  const std::string name = "a # b, [c] = \"d\" 'e'\\ f.txt";
  write_file(dir_ / name, small_text(500));
  ok(Words{"train", "--data", name, "--out", "run", "--steps", "2"} + size_ +
     Words{"--sample-every", "0", "--val-batches", "1"});
  remove_tree(dir_ / "run/data");  // the text must be found again
  const std::string out = ok({"train", "--resume", "--out", "run", "--steps", "3"});
  EXPECT_NE(out.find("resumed from"), std::string::npos) << out;
  EXPECT_NE(out.find("tokens to train on"), std::string::npos) << out;
}

// Stopping and resuming.

class CliResume : public CliTrain {
 protected:
  const Words run_ = Words{"train", "--data", "text.txt"} + size_ +
                     Words{"--sample-every", "0", "--val-batches", "1", "--lr", "1e-2", "--warmup", "3"};
};

TEST_F(CliResume, ResumingNeedsNothingButTheFolder) {
  ok(run_ + Words{"--out", "whole", "--steps", "20", "--checkpoint-every", "10"});
  fs::copy(dir_ / "whole", dir_ / "half", fs::copy_options::recursive);
  remove_tree(dir_ / "half/step_00000020");
  const std::string out = ok({"train", "--resume", "--out", "half"});
  EXPECT_NE(out.find("step_00000010"), std::string::npos) << out;
  expect_same_checkpoint(dir_ / "whole/step_00000020", dir_ / "half/step_00000020");
  EXPECT_EQ(file("whole/main.log"), file("half/main.log"));
  // And with another number of threads; and options given again override.
  remove_tree(dir_ / "half/step_00000020");
  ok({"train", "--resume", "--out", "half", "--threads", "1"});
  expect_same_checkpoint(dir_ / "whole/step_00000020", dir_ / "half/step_00000020");
  ok({"train", "--out=half", "--resume", "--steps=22"});
  EXPECT_TRUE(fs::exists(dir_ / "half/step_00000022"));
}

TEST_F(CliResume, EveryOptimizerResumes) {
  for (const char* optimizer : {"adamw", "sgd"}) {
    ok(run_ + Words{"--out", optimizer, "--steps", "3", "--optimizer", optimizer});
    EXPECT_NE(ok({"train", "--resume", "--out", optimizer, "--steps", "5"}).find("resumed from"), std::string::npos);
    fails(2, {"train", "--resume", "--out", optimizer, "--layers", "3"}, {"--layers 3"});
  }
}

TEST_F(CliResume, TheDtypeOfProductsIsTheRuns) {
  fails(2, run_ + Words{"--dtype", "f64"}, {"--dtype", "f64", "bf16"});
  const Words bf16 = run_ + Words{"--dtype", "bf16", "--checkpoint-every", "5"};
  EXPECT_NE(ok(bf16 + Words{"--out", "whole", "--steps", "10"}).find("bf16 products"), std::string::npos);
  ok(bf16 + Words{"--out", "half", "--steps", "5"});
  ok({"train", "--resume", "--out", "half", "--steps", "10", "--threads", "1"});
  expect_same_checkpoint(dir_ / "whole/step_00000010", dir_ / "half/step_00000010");
  ok(run_ + Words{"--out", "f32", "--steps", "10"});
  EXPECT_NE(file("f32/main.log"), file("whole/main.log"));
}

TEST_F(CliResume, AnotherOptimizerIsRefused) {
  ok(run_ + Words{"--out", "run", "--steps", "3"});
  fails(2, {"train", "--resume", "--out", "run", "--optimizer", "sgd", "--steps", "5"}, {"--optimizer adamw", "sgd"});
}

TEST_F(CliResume, OtherDataIsRefused) {
  ok(run_ + Words{"--out", "run", "--steps", "3"});
  write_file(dir_ / "other.txt", small_text(600));
  fails(2, {"train", "--resume", "--out", "run", "--data", "other.txt", "--steps", "5"}, {"text.txt", "other.txt"});
}

TEST_F(CliResume, WithoutAFolderIsRefused) {
  fails(2, {"train", "--resume"}, {"--out"});
  ok(run_ + Words{"--steps", "3"});  // in runs/text
  fails(2, run_ + Words{"--resume", "--steps", "4"}, {"--out"});
  fails(2, {"train", "--resume", "--out", "none"}, {"--data"});
}

TEST_F(CliResume, AnOptionFileMayAskForIt) {
  ok(run_ + Words{"--out", "run", "--steps", "3"});
  write_file(dir_ / "more.toml", "out = \"run\"\nresume = true\nsteps = 5\n");
  EXPECT_NE(ok({"train", "--config", "more.toml"}).find("resumed from"), std::string::npos);
  EXPECT_TRUE(fs::exists(dir_ / "run/step_00000005"));
}

class CliStop : public CliResume, public testing::WithParamInterface<int> {};

TEST_P(CliStop, ASignalFinishesTheStepAndSaves) {
  Program program(dir_.path());
  program.start(run_ + Words{"--out", "run", "--steps", "1000000", "--val-every", "0", "--checkpoint-every", "0"} +
                Words{"--checkpoint-every", "900000"});
  wait_for(dir_ / "run/main.log", "s:5 trl:");
  program.send(GetParam());
  const Output output = program.wait();
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(output.err, "");
  EXPECT_NE(output.out.find("--resume --out run"), std::string::npos) << output.out;
  const auto steps = static_cast<int64_t>(read_metrics(dir_ / "run").size());
  EXPECT_GE(steps, 6);
  const std::vector<CheckpointEntry> checkpoints = list_checkpoints(dir_ / "run");
  ASSERT_EQ(checkpoints.size(), 1u);
  EXPECT_EQ(checkpoints[0].step, steps);
}

INSTANTIATE_TEST_SUITE_P(Signals, CliStop, testing::Values(SIGINT, SIGTERM),
                         [](const auto& p) { return p.param == SIGINT ? "SIGINT" : "SIGTERM"; });

// A handler that ran on a thread inside the matrix library would write over its memory (see cli/stop_signals.h).
TEST_F(CliResume, StoppedInsideAnyProductItEndsWell) {
  for (int i = 0; i < 8; ++i) {
    Program program(dir_.path());
    program.start({"train",       "--data",      "text.txt",
                   "--layers",    "2",           "--heads",
                   "2",           "--channels",  "64",
                   "--context",   "32",          "--batch",
                   "4",           "--steps",     "1000000",
                   "--val-every", "0",           "--sample-every",
                   "0",           "--overwrite", "--checkpoint-every",
                   "1000000",     "--out",       "stopped"});
    wait_for(dir_ / "stopped/main.log", "s:5 trl:");
    std::this_thread::sleep_for(std::chrono::milliseconds(7 * i));
    program.send(SIGINT);
    const Output output = program.wait();
    ASSERT_EQ(output.status, 0) << output.err;
    ASSERT_EQ(list_checkpoints(dir_ / "stopped").size(), 1u) << output.out;
    remove_tree(dir_ / "stopped");
  }
}

TEST_F(CliResume, ARefusedResumeLeavesTheRunsOptions) {
  ok(run_ + Words{"--steps", "4", "--out", "run"});
  const std::string options = read_file(dir_ / "run/run.toml");
  fails(1, {"train", "--resume", "--out", "run", "--batch", "1"}, {"--batch"});
  EXPECT_EQ(read_file(dir_ / "run/run.toml"), options);
  ok({"train", "--resume", "--out", "run", "--steps", "5"});
}

TEST_F(CliResume, KilledAtAnyMomentItEndsWithTheSameBits) {
  const Words options = run_ + Words{"--steps",       "100", "--checkpoint-every", "5", "--keep", "2",
                                     "--major-every", "30",  "--val-every",        "10"};
  ok(options + Words{"--out", "whole"});
  std::mt19937 rng(std::random_device{}());
  int kills = 0;
  for (int tries = 0; tries < 60; ++tries) {
    Program program(dir_.path());
    program.start(options + Words{"--out", "killed", "--resume"});
    std::this_thread::sleep_for(std::chrono::milliseconds(30 + rng() % 300));
    if (kills < 8 && program.running()) {
      program.end(SIGKILL);
      ++kills;
      for (const CheckpointEntry& entry : list_checkpoints(dir_ / "killed")) {
        EXPECT_TRUE(fs::exists(entry.path / "model.safetensors")) << entry.path;
      }
      continue;
    }
    const Output output = program.wait();
    ASSERT_EQ(output.status, 0) << output.err;
    break;
  }
  EXPECT_EQ(names_in(dir_ / "whole"), names_in(dir_ / "killed"));  // nothing unfinished is left
  expect_same_checkpoint(dir_ / "whole/step_00000100", dir_ / "killed/step_00000100");
  EXPECT_EQ(file("whole/main.log"), file("killed/main.log"));
  EXPECT_EQ(read_metrics(dir_ / "whole"), read_metrics(dir_ / "killed"));
}

TEST_F(CliResume, AFullDiskStopsTheRunAndKeepsTheLastCheckpoint) {
  ok(run_ + Words{"--out", "run", "--steps", "3"});
  const std::vector<std::string> names = names_in(dir_ / "run");
  Program program(dir_.path());
  program.file_limit = fs::file_size(dir_ / "run/step_00000003/trainer.safetensors") - 1;
  program.start({"train", "--resume", "--out", "run", "--steps", "5"});
  const Output output = program.wait();
  EXPECT_EQ(output.status, 1);
  expect_one_line_error(output.err);
  EXPECT_NE(output.err.find("run/.step_00000005.tmp"), std::string::npos) << output.err;
  EXPECT_EQ(names_in(dir_ / "run"), names);
  ok({"train", "--resume", "--out", "run", "--steps", "5"});  // with room again
  EXPECT_TRUE(fs::exists(dir_ / "run/step_00000005"));
}

}  // namespace
}  // namespace ink
