// Checkpoints: bit for bit what was saved, whole or absent, and any damage is found.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/data/shard.h"
#include "ink/infer/generator.h"
#include "ink/infer/model.h"
#include "ink/train/checkpoint.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Changes a file's content where it lies, without waiting for the disk.
void rewrite(const fs::path& path, std::string_view text) { OutputFile(path, OutputFile::Mode::create).write(text); }

// Bits, so that a NaN equals itself and -0 is not 0.
std::vector<uint32_t> bits_of(const Gpt2& model, const Tensor& t) {
  const std::vector<float> values = values_of(model, t);
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

class Checkpoint : public testing::Test {
 protected:
  TempDir dir_;
  fs::path run_ = dir_ / "run";
  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("ref", pool_);
  const Gpt2Config config_ = {.context = 8, .vocab = 256, .layers = 2, .heads = 2, .channels = 8};
  std::shared_ptr<const Tokenizer> tokenizer_ = make_byte_tokenizer();

  std::unique_ptr<Gpt2> model(uint32_t seed, const Gpt2Config& config, std::vector<std::string> state = {"m", "v"}) {
    auto made = std::make_unique<Gpt2>(
        config, Gpt2Options{.batch = 1, .training = true, .optimizer_state = std::move(state)}, *ops_);
    made->allocate();
    randomize(*made, seed);
    Mt19937 rng(seed + 1);
    for (const Param& p : made->params()) {
      for (const Tensor& buffer : p.state) {
        std::vector<float> values(static_cast<size_t>(buffer.numel()));
        rng.normal(values, 0, 1);
        made->ops().upload(buffer, values.data());
      }
    }
    return made;
  }
  std::unique_ptr<Gpt2> model(uint32_t seed) { return model(seed, config_); }

  // A state with something in every field.
  TrainState state(int64_t step) {
    std::vector<int32_t> ids(200);
    if (!fs::exists(dir_ / "shard.bin")) {
      ShardWriter writer(dir_ / "shard.bin");
      writer.write(std::span<const int32_t>(ids));
      writer.commit();
    }
    Loader loader({.pattern = (dir_ / "shard.bin").string(), .batch = 2, .context = 8});
    std::vector<int32_t> inputs, targets;
    for (int i = 0; i < 15; ++i) loader.next(inputs, targets);
    OutlierDetector losses, norms;
    for (int i = 0; i < 150; ++i) losses.update(1.0 / (i + 3));
    for (int i = 0; i < 50; ++i) norms.update(0.1 * i);
    return {.step = step,
            .optimizer = "adamw",
            .loader = loader.state(),
            .loss_outliers = losses.state(),
            .norm_outliers = norms.state(),
            .smoothed_loss = 0.1 + 0.2};
  }

  void save(int64_t step) { save_checkpoint(run_, *model(7), tokenizer_.get(), state(step)); }

  std::vector<int64_t> steps() const {
    std::vector<int64_t> listed;
    for (const CheckpointEntry& entry : list_checkpoints(run_)) listed.push_back(entry.step);
    return listed;
  }

  void expect_refused(const fs::path& checkpoint, std::initializer_list<std::string_view> texts) {
    const auto into = model(1);
    expect_error([&] { load_checkpoint(checkpoint, "adamw", *into); }, texts);
  }
};

void expect_equal(const OutlierDetector::State& a, const OutlierDetector::State& b) {
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.next, b.next);
  EXPECT_EQ(a.sum, b.sum);
  EXPECT_EQ(a.sum_squares, b.sum_squares);
}

TEST_F(Checkpoint, RestoresEveryBit) {
  const auto saved = model(7);
  const TrainState before = state(12);
  save_checkpoint(run_, *saved, tokenizer_.get(), before);
  const auto loaded = model(1);
  const TrainState after = load_checkpoint(checkpoint_path(run_, 12), "adamw", *loaded);
  for (size_t i = 0; i < saved->params().size(); ++i) {
    const Param &a = saved->params()[i], &b = loaded->params()[i];
    EXPECT_EQ(bits_of(*saved, a.weight), bits_of(*loaded, b.weight)) << a.name;
    ASSERT_EQ(b.state.size(), 2u);
    EXPECT_EQ(bits_of(*saved, a.state[0]), bits_of(*loaded, b.state[0])) << a.name;
    EXPECT_EQ(bits_of(*saved, a.state[1]), bits_of(*loaded, b.state[1])) << a.name;
  }
  EXPECT_EQ(after.step, 12);
  EXPECT_EQ(after.optimizer, "adamw");
  EXPECT_EQ(after.loader.shard, before.loader.shard);
  EXPECT_EQ(after.loader.sample, before.loader.sample);
  EXPECT_EQ(after.loader.epoch, before.loader.epoch);
  EXPECT_EQ(after.loader.offset, before.loader.offset);
  EXPECT_EQ(after.loader.shard_order, before.loader.shard_order);
  EXPECT_EQ(after.loader.sample_order, before.loader.sample_order);
  EXPECT_EQ(after.loader.rng, before.loader.rng);
  EXPECT_EQ(after.loader.tokens, before.loader.tokens);
  EXPECT_EQ(after.loader.data, before.loader.data);
  EXPECT_EQ(after.loader.sample_tokens, before.loader.sample_tokens);
  EXPECT_FALSE(before.loader.sample_order.empty());
  expect_equal(after.loss_outliers, before.loss_outliers);
  expect_equal(after.norm_outliers, before.norm_outliers);
  EXPECT_EQ(after.smoothed_loss, before.smoothed_loss);
}

TEST_F(Checkpoint, TheSameStateIsTheSameBytes) {
  save(3);
  save_checkpoint(dir_ / "other", *model(7), tokenizer_.get(), state(3));
  for (const std::string& name : names_in(checkpoint_path(run_, 3))) {
    EXPECT_EQ(read_file(checkpoint_path(run_, 3) / name), read_file(checkpoint_path(dir_ / "other", 3) / name)) << name;
  }
}

TEST_F(Checkpoint, IsAModelDirectory) {
  save(12);
  const fs::path path = checkpoint_path(run_, 12);
  EXPECT_EQ(path, run_ / "step_00000012");
  const LoadedModel loaded = load_model(path, *ops_);
  EXPECT_EQ(loaded.tokenizer->name(), "byte");
  EXPECT_EQ(loaded.model->config(), config_);
  const auto saved = model(7);
  const Tensor& wte = loaded.model->weights().wte;
  EXPECT_EQ(std::memcmp(wte.data, saved->params()[0].weight.data, wte.bytes()), 0);
  std::vector<int32_t> ids = {65};
  EXPECT_EQ(generate(*loaded.model, {.max_tokens = 4}, -1, ids, [](const GeneratedToken&) { return true; }), 4);
}

TEST_F(Checkpoint, NoTokenizerIsNeeded) {
  save_checkpoint(run_, *model(7), nullptr, state(1));
  EXPECT_FALSE(fs::exists(checkpoint_path(run_, 1) / "tokenizer.json"));
  EXPECT_EQ(load_checkpoint(checkpoint_path(run_, 1), "adamw", *model(1)).step, 1);
}

TEST_F(Checkpoint, AreListedOldestFirst) {
  EXPECT_TRUE(steps().empty());  // not even a folder
  for (const int64_t step : {5, 123456789, 40}) save(step);
  make_directories(run_ / "step_x");
  make_directories(run_ / "step_00000077");       // holds nothing
  make_directories(run_ / ".step_00000088.tmp");  // unfinished
  write_file(run_ / ".step_00000088.tmp/trainer.json", "{}");
  write_file(run_ / "step_00000099", "a file");
  write_file(run_ / "main.log", "");
  EXPECT_EQ(steps(), (std::vector<int64_t>{5, 40, 123456789}));
}

TEST_F(Checkpoint, ARunFolderStandsForItsNewestCheckpoint) {
  save(5);
  save(40);
  EXPECT_EQ(resolve_model_path(run_), checkpoint_path(run_, 40));
  EXPECT_EQ(resolve_model_path(checkpoint_path(run_, 5)), checkpoint_path(run_, 5));
  EXPECT_EQ(resolve_model_path(dir_ / "shard.bin"), dir_ / "shard.bin");
  expect_error([&] { resolve_model_path(dir_ / "none"); }, {(dir_ / "none").string()});
}

TEST_F(Checkpoint, PruningKeepsTheNewestAndTheMajorOnes) {
  for (const int64_t step : {10, 20, 30, 40, 50}) save(step);
  prune_checkpoints(run_, 0, 0);
  EXPECT_EQ(steps(), (std::vector<int64_t>{10, 20, 30, 40, 50}));
  prune_checkpoints(run_, 9, 0);
  EXPECT_EQ(steps(), (std::vector<int64_t>{10, 20, 30, 40, 50}));
  prune_checkpoints(run_, 2, 20);
  EXPECT_EQ(steps(), (std::vector<int64_t>{20, 40, 50}));
  prune_checkpoints(run_, 1, 0);
  EXPECT_EQ(steps(), (std::vector<int64_t>{50}));
  EXPECT_EQ(names_in(run_), (std::vector<std::string>{"step_00000050"}));  // nothing half removed
}

TEST_F(Checkpoint, SavingOneThatExistsChangesNothing) {
  save(5);
  const std::string before = read_file(checkpoint_path(run_, 5) / "model.safetensors");
  save_checkpoint(run_, *model(99), tokenizer_.get(), state(5));
  EXPECT_EQ(read_file(checkpoint_path(run_, 5) / "model.safetensors"), before);
}

TEST_F(Checkpoint, AForeignFolderUnderItsNameIsNotOverwritten) {
  make_directories(checkpoint_path(run_, 5));
  write_file(checkpoint_path(run_, 5) / "mine.txt", "mine");
  expect_error([&] { save(5); }, {checkpoint_path(run_, 5).string(), "exists"});
  EXPECT_EQ(read_file(checkpoint_path(run_, 5) / "mine.txt"), "mine");
  EXPECT_EQ(names_in(run_).size(), 1u);
}

TEST_F(Checkpoint, WhatAKilledProcessLeftIsReplaced) {
  make_directories(run_ / ".step_00000005.tmp");
  write_file(run_ / ".step_00000005.tmp/model.safetensors", "half");
  write_file(run_ / ".step_00000005.tmp/stale", "stale");
  save(5);
  EXPECT_EQ(names_in(run_), (std::vector<std::string>{"step_00000005"}));
  EXPECT_FALSE(fs::exists(checkpoint_path(run_, 5) / "stale"));
  EXPECT_EQ(load_checkpoint(checkpoint_path(run_, 5), "adamw", *model(1)).step, 5);
}

TEST_F(Checkpoint, EveryMissingFileIsNamed) {
  save(5);
  const fs::path path = checkpoint_path(run_, 5);
  for (const std::string& name : names_in(path)) {
    fs::rename(path / name, dir_ / name);
    expect_refused(path, {(path / name).string()});
    fs::rename(dir_ / name, path / name);
  }
  EXPECT_EQ(load_checkpoint(path, "adamw", *model(1)).step, 5);
}

TEST_F(Checkpoint, EveryFileOfAnotherLengthIsNamed) {
  save(5);
  const fs::path path = checkpoint_path(run_, 5);
  for (const std::string& name : names_in(path)) {
    const std::string good = read_file(path / name);
    for (const size_t length : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 2}) {
      rewrite(path / name, good.substr(0, length));
      expect_refused(path, {(path / name).string()});
    }
    rewrite(path / name, good + "!");
    expect_refused(path, {(path / name).string()});
    rewrite(path / name, good);
  }
}

TEST_F(Checkpoint, EveryFlippedBitIsFound) {
  save(5);
  const fs::path path = checkpoint_path(run_, 5);
  Mt19937 rng(3);
  for (const std::string& name : names_in(path)) {
    const std::string good = read_file(path / name);
    for (int i = 0; i < 40; ++i) {
      std::string bad = good;
      const size_t at = i == 0 ? 0 : i == 1 ? good.size() - 1 : rng.next_u32() % good.size();
      const int bit = static_cast<int>(rng.next_u32() % 8);
      // 1e-05 is 1E-05.
      if (name == "trainer.json" && (bad[at] == 'e' || bad[at] == 'E') && bit == 5) continue;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      rewrite(path / name, bad);
      SCOPED_TRACE(fmt::format("{}: byte {}, bit {}", name, at, bit));
      expect_refused(path, {(path / name).string()});
    }
    rewrite(path / name, good);
  }
}

TEST_F(Checkpoint, DamageIsFoundBeforeTheModelIsTouched) {
  save(5);
  const fs::path file = checkpoint_path(run_, 5) / "trainer.safetensors";
  std::string bad = read_file(file);
  bad.back() = static_cast<char>(bad.back() ^ 1);
  rewrite(file, bad);
  const auto into = model(1), untouched = model(1);
  EXPECT_THROW(load_checkpoint(checkpoint_path(run_, 5), "adamw", *into), Error);
  EXPECT_EQ(bits_of(*into, into->params()[0].weight), bits_of(*untouched, untouched->params()[0].weight));
}

TEST_F(Checkpoint, AnotherVersionIsNamed) {
  save(5);
  const fs::path file = checkpoint_path(run_, 5) / "trainer.json";
  std::string text = read_file(file);
  const std::string version = "\"version\": 1";
  ASSERT_NE(text.find(version), std::string::npos);
  text.replace(text.find(version), version.size(), "\"version\": 2");
  rewrite(file, text);
  expect_refused(checkpoint_path(run_, 5), {file.string(), "version"});
}

TEST_F(Checkpoint, WhatIsNoTrainingStateIsNamed) {
  save(5);
  const fs::path file = checkpoint_path(run_, 5) / "trainer.json";
  for (const std::string_view text : {"", "[]", "{}", "null", "{\"version\":1}", "{\"version\":1,\"checksum\":7}",
                                      "{\"version\":\"1\",\"checksum\":\"\"}", "\xff\xfe"}) {
    rewrite(file, text);
    expect_refused(checkpoint_path(run_, 5), {file.string()});
  }
}

TEST_F(Checkpoint, AnotherOptimizersRunIsRefusedByName) {
  save(5);
  const auto sgd = model(1, config_, {"momentum"});
  expect_error([&] { load_checkpoint(checkpoint_path(run_, 5), "sgd", *sgd); }, {"adamw", "--optimizer sgd"});
  EXPECT_THROW(load_checkpoint(checkpoint_path(run_, 5), "sgd", *sgd), UsageError);
}

TEST_F(Checkpoint, AnotherModelIsRefused) {
  save(5);
  for (const Gpt2Config& other : {Gpt2Config{.context = 8, .vocab = 256, .layers = 3, .heads = 2, .channels = 8},
                                  Gpt2Config{.context = 8, .vocab = 256, .layers = 2, .heads = 2, .channels = 12},
                                  Gpt2Config{.context = 4, .vocab = 256, .layers = 2, .heads = 2, .channels = 8},
                                  Gpt2Config{.context = 8, .vocab = 255, .layers = 2, .heads = 2, .channels = 8},
                                  Gpt2Config{.context = 8, .vocab = 256, .layers = 2, .heads = 4, .channels = 8}}) {
    const auto into = model(1, other);
    expect_error([&] { load_checkpoint(checkpoint_path(run_, 5), "adamw", *into); },
                 {checkpoint_path(run_, 5).string()});
  }
}

// Runs body in a child whose files can hold no more than `bytes`, as on a full disk; its exit status is body's.
int with_file_limit(rlim_t bytes, const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);  // write fails with EFBIG instead
    const rlimit limit = {bytes, bytes};
    _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0 ? body() : 99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Checkpoint, AFullDiskLeavesWhatThereWas) {
  save(5);
  const TrainState next = state(6);
  const auto saved = model(7);
  // Enough for config.json; then enough for the weights and not for the optimizer's state.
  const size_t weights = fs::file_size(checkpoint_path(run_, 5) / "model.safetensors");
  const size_t moments = fs::file_size(checkpoint_path(run_, 5) / "trainer.safetensors");
  ASSERT_GT(moments, weights);
  for (const size_t bytes : {size_t{0}, size_t{2048}, weights - 1, weights, moments - 1}) {
    const int status = with_file_limit(bytes, [&] {
      try {
        save_checkpoint(run_, *saved, tokenizer_.get(), next);
        return 3;
      } catch (const Error& error) {
        const std::string what = error.what();
        return what.find(run_.string()) != std::string::npos && what.find("cannot write") != std::string::npos ? 0 : 4;
      }
    });
    EXPECT_EQ(status, 0) << bytes;
    EXPECT_EQ(names_in(run_), (std::vector<std::string>{"step_00000005"})) << bytes;
  }
  EXPECT_EQ(load_checkpoint(checkpoint_path(run_, 5), "adamw", *model(1)).step, 5);
}

TEST_F(Checkpoint, APlaceThatCannotBeWrittenIsNamed) {
  write_file(dir_ / "file", "");
  expect_error([&] { save_checkpoint(dir_ / "file" / "run", *model(7), nullptr, state(1)); },
               {(dir_ / "file").string()});
}

TEST_F(Checkpoint, AReadOnlyFolderIsNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "root writes anywhere";
  make_directories(run_);
  fs::permissions(run_, fs::perms::owner_read | fs::perms::owner_exec);
  expect_error([&] { save(1); }, {run_.string(), "denied"});
  EXPECT_TRUE(names_in(run_).empty());
}

}  // namespace
}  // namespace ink
