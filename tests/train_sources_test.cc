// Where a run's data, tokenizer and weights come from, and what is refused before anything good is touched.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "ink/format/model_io.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

// A shard with any header.
void write_raw_shard(const fs::path& path, int32_t magic, int32_t version, int32_t count, size_t tokens) {
  std::array<int32_t, 256> header{};
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  std::string bytes(reinterpret_cast<const char*>(header.data()), sizeof header);
  bytes.resize(bytes.size() + 2 * tokens);
  write_file(path, bytes);
}

class Sources : public TrainingRun {
 protected:
  // A run on token shards.
  TrainOptions on_shards(const std::string& name) {
    TrainOptions o = small(name);
    o.data.clear();
    o.train_shards = (dir_ / "train_*.bin").string();
    o.val_shards = (dir_ / "val.bin").string();
    o.vocab = 50;
    return o;
  }
  void write_shards() {
    write_shard(dir_ / "train_0.bin", random_ids(300, 50, 1));
    write_shard(dir_ / "val.bin", random_ids(100, 50, 2));
  }

  void expect_error_of(const TrainOptions& options, std::initializer_list<std::string_view> texts) {
    const std::string error = error_of(options);
    for (const std::string_view text : texts) {
      EXPECT_NE(error.find(text), std::string::npos) << "'" << text << "' is not in: " << error;
    }
  }
  void expect_usage_error_of(const TrainOptions& options, std::initializer_list<std::string_view> texts) {
    expect_error_of(options, texts);
    EXPECT_TRUE(is_usage_error(options));
  }

  // A model folder with the byte tokenizer.
  fs::path write_model(const Gpt2Config& config = {
                           .context = 16, .vocab = 256, .layers = 1, .heads = 2, .channels = 8}) {
    make_directories(dir_ / "model");
    ThreadPool pool(1);
    const auto ops = make_ops("ref", pool);
    save_huggingface(dir_ / "model", *make_model(*ops, {}, config));
    make_byte_tokenizer()->save(dir_ / "model");
    return dir_ / "model";
  }
  // Options that leave the dimensions to a model.
  TrainOptions from_model(const std::string& name, const std::string& model) {
    TrainOptions o = small(name);
    o.layers = o.heads = o.channels = o.context = std::nullopt;
    o.model = model;
    return o;
  }
};

// Data.

TEST_F(Sources, TextThatIsMissingOrEmptyIsNamed) {
  TrainOptions o = small("run");
  o.data = {dir_ / "none.txt"};
  expect_error_of(o, {(dir_ / "none.txt").string()});
  write_file(dir_ / "empty.txt", "");
  o.data = {dir_ / "empty.txt"};
  expect_error_of(o, {(dir_ / "empty.txt").string(), "empty"});
  make_directories(dir_ / "folder/below");
  write_file(dir_ / "folder/image", std::string("\x89PNG\0\0\0", 7));
  o.data = {dir_ / "folder"};
  expect_error_of(o, {(dir_ / "folder").string()});
  for (const char* tokenizer : {"byte", "gpt2", "char"}) {
    o.tokenizer = tokenizer;
    expect_error_of(o, {(dir_ / "folder").string()});
  }
  EXPECT_FALSE(fs::exists(o.out / "main.log"));
}

TEST_F(Sources, AFolderOfTextIsData) {
  make_directories(dir_ / "texts/below");
  write_file(dir_ / "texts/a.txt", small_text(300));
  write_file(dir_ / "texts/below/b.md", small_text(300));
  TrainOptions o = small("run");
  o.data = {dir_ / "texts"};
  EXPECT_EQ(train(o).steps, 20);
}

TEST_F(Sources, AContextLongerThanTheDataIsRefused) {
  write_file(dir_ / "text.txt", small_text(40));
  TrainOptions o = small("run");
  o.context = 64;
  expect_error_of(o, {"tokens", "--seq-len"});
  EXPECT_TRUE(list_checkpoints(o.out).empty());
  write_shards();
  TrainOptions shards = on_shards("run2");
  shards.batch = 64;
  expect_error_of(shards, {"train_0.bin", "300", "1025", "--batch"});
}

TEST_F(Sources, ValidationWithAShortPartTakesFewerSequences) {
  // 50 characters for validation: three sequences of 16, not the four of a batch.
  TrainOptions o = small("run");
  o.batch = 4;
  EXPECT_TRUE(std::isfinite(train(o).validation_loss));
}

TEST_F(Sources, AValidationPartShorterThanASequenceIsLeftOut) {
  TrainOptions o = small("run");
  o.val_fraction = 0.02;
  EXPECT_TRUE(std::isnan(train(o).validation_loss));
  EXPECT_NE(notes_.find("validation"), std::string::npos) << notes_;
  EXPECT_EQ(losses("run").size(), 20u);
}

TEST_F(Sources, WithoutAValidationPartAllTextIsTrainedOn) {
  TrainOptions o = small("run");
  o.val_fraction = 0;
  EXPECT_TRUE(std::isnan(train(o).validation_loss));
  EXPECT_EQ(names_in(o.out / "data"), (std::vector<std::string>{"train_000000.bin"}));
  EXPECT_EQ(Shard(o.out / "data/train_000000.bin").tokens().size(), 500u);
}

TEST_F(Sources, AllOfTheValidationSetMayBeAskedFor) {
  write_shards();
  TrainOptions o = on_shards("run");
  o.val_batches = -1;
  const double all = train(o).validation_loss;
  o.out = dir_ / "three";
  o.val_batches = 3;  // 100 tokens are three batches of 32
  EXPECT_EQ(train(o).validation_loss, all);
}

TEST_F(Sources, ShardsThatLieAreNamed) {
  write_shards();
  const TrainOptions o = on_shards("run");
  const fs::path bad = dir_ / "train_1.bin";
  write_raw_shard(bad, kShardMagic, kShardVersion, 301, 300);
  expect_error_of(o, {bad.string(), "301"});
  write_raw_shard(bad, kShardMagic, kShardVersion, 299, 300);
  expect_error_of(o, {bad.string(), "299"});
  write_raw_shard(bad, kShardMagic, kShardVersion, -1, 300);
  expect_error_of(o, {bad.string(), "-1"});
  write_raw_shard(bad, kShardMagic, 2, 300, 300);
  expect_error_of(o, {bad.string(), "version 2"});
  write_raw_shard(bad, 12345, kShardVersion, 300, 300);
  expect_error_of(o, {bad.string(), "12345"});
  write_file(bad, "");
  expect_error_of(o, {bad.string(), "empty"});
  EXPECT_TRUE(list_checkpoints(o.out).empty());
}

TEST_F(Sources, TokensOutOfTheVocabularyAreNamed) {
  write_shards();
  std::vector<int32_t> ids = random_ids(300, 50, 1);
  ids[123] = 50;
  write_shard(dir_ / "train_1.bin", ids);
  expect_error_of(on_shards("run"), {"train_1.bin", "token 50", "123"});
  fs::remove(dir_ / "train_1.bin");
  ids.resize(200);
  write_shard(dir_ / "val.bin", ids);
  expect_error_of(on_shards("run"), {"val.bin", "token 50", "123"});
}

TEST_F(Sources, APatternWithoutFilesIsNamed) {
  TrainOptions o = on_shards("run");
  expect_error_of(o, {(dir_ / "train_*.bin").string()});
  write_shards();
  o.val_shards = (dir_ / "vale.bin").string();
  expect_error_of(o, {(dir_ / "vale.bin").string()});
}

// Tokenizer and vocabulary.

TEST_F(Sources, ContradictionsOfTokenizerAndVocabularyAreRefused) {
  TrainOptions o = small("run");
  o.tokenizer = "byte";
  o.vocab = 100;
  expect_usage_error_of(o, {"byte", "256", "100"});
  o.tokenizer = "bytes";
  expect_usage_error_of(o, {"bytes"});
  write_shards();
  TrainOptions shards = on_shards("run");
  shards.tokenizer = "char";
  expect_usage_error_of(shards, {"char", "--data"});
  TrainOptions model = from_model("run", write_model().string());
  model.tokenizer = "gpt2";
  expect_usage_error_of(model, {"gpt2", "50257", "256"});
}

TEST_F(Sources, ALargerVocabularyThanTheTokenizersIsFine) {
  TrainOptions o = small("run");
  o.tokenizer = "byte";
  o.vocab = 5000;
  o.sample_every = 5;  // an untrained model draws every id alike: only the tokenizer's may be drawn
  train(o);
  EXPECT_EQ(read_model_config(checkpoint_path(o.out, 20)).vocab, 5000);
}

TEST_F(Sources, ARunFolderIsUsedByOneProcess) {
  TrainOptions o = small("run");
  train(o);
  const FolderLock other(o.out);
  o.resume = true;
  o.steps = 25;
  expect_error_of(o, {"run", "another process"});
}

TEST_F(Sources, AStepFolderThatIsNoCheckpointIsNamedAtTheStart) {
  TrainOptions o = small("run");
  train(o);
  fs::remove(checkpoint_path(o.out, 20) / "trainer.json");
  o.resume = true;
  o.steps = 25;
  expect_error_of(o, {"step_00000020", "trainer.json"});
}

TEST_F(Sources, ARunFolderMayHaveAnyName) {
  TrainOptions o = small("a\\b [c]*?");
  train(o);
  EXPECT_FALSE(list_checkpoints(o.out).empty());
}

TEST_F(Sources, ATokenizerBesideTheShardsIsTaken) {
  write_shards();
  make_char_tokenizer("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX")->save(dir_.path());
  TrainOptions o = on_shards("run");
  o.vocab = std::nullopt;
  o.sample_every = 20;
  train(o);
  EXPECT_EQ(read_model_config(checkpoint_path(o.out, 20)).vocab, 50);
  EXPECT_TRUE(fs::exists(checkpoint_path(o.out, 20) / "tokenizer.json"));
}

TEST_F(Sources, WithoutATokenizerSamplesAreIds) {
  write_shards();
  TrainOptions o = on_shards("run");
  o.sample_every = 20;
  o.sample_tokens = 5;
  train(o);
  std::string sample;
  for (const auto& line : read_metrics(o.out)) {
    if (line.contains("sample")) sample = line["sample"];
  }
  EXPECT_EQ(std::count(sample.begin(), sample.end(), ' '), 4) << sample;
  EXPECT_EQ(sample.find_first_not_of("0123456789 "), std::string::npos) << sample;
}

// Model and weights.

TEST_F(Sources, TrainingGoesOnFromAModelFolderWithItsTokenizer) {
  TrainOptions o = from_model("run", write_model().string());
  o.steps = o.warmup = 0;
  const double before = train(o).validation_loss;
  EXPECT_NE(notes_.find("byte tokenizer"), std::string::npos) << notes_;
  o.out = dir_ / "tuned";
  o.steps = 40;
  EXPECT_LT(train(o).validation_loss, before - 0.3);
}

TEST_F(Sources, ARunFolderStandsForItsNewestCheckpoint) {
  train(small("first"));
  TrainOptions o = from_model("second", (dir_ / "first").string());
  o.steps = o.warmup = 0;
  const double start = train(o).validation_loss;
  std::string last;
  for (const auto& line : read_metrics(dir_ / "first")) {
    if (line.contains("val_loss")) last = line["val_loss"].dump();
  }
  EXPECT_EQ(nlohmann::json(start).dump(), last);
}

TEST_F(Sources, DimensionsThatContradictTheWeightsAreRefused) {
  const fs::path model = write_model();
  struct Case {
    const char* flag;
    std::optional<int64_t> TrainOptions::*dimension;
    int64_t value;
  };
  for (const Case& c :
       {Case{"--layers 2", &TrainOptions::layers, 2}, Case{"--heads 4", &TrainOptions::heads, 4},
        Case{"--channels 16", &TrainOptions::channels, 16}, Case{"--context 8", &TrainOptions::context, 8},
        Case{"--vocab 300", &TrainOptions::vocab, 300}}) {
    TrainOptions o = from_model("run", model.string());
    o.*c.dimension = c.value;
    expect_usage_error_of(o, {c.flag, model.string()});
  }
  TrainOptions same = from_model("run", model.string());
  same.layers = 1;
  same.vocab = 256;
  same.seq_len = 8;  // shorter sequences are fine
  EXPECT_EQ(error_of(same), "no error");
}

TEST_F(Sources, DimensionsThatContradictTheCheckpointAreRefused) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  o.resume = true;
  o.steps = 12;
  o.layers = 3;
  expect_usage_error_of(o, {"--layers 3", "step_00000010"});
  o.layers = 2;
  o.optimizer = "sgd";
  expect_usage_error_of(o, {"adamw", "--optimizer sgd"});
  o.optimizer = "adamw";
  o.tokenizer = "byte";
  expect_usage_error_of(o, {"--tokenizer byte", "step_00000010", "char"});
  o.tokenizer = "char";
  o.batch = 3;
  expect_error_of(o, {"resume with the same --batch and --seq-len"});
  EXPECT_EQ(list_checkpoints(o.out).back().step, 10);
}

TEST_F(Sources, SizesThatDoNotFitEachOtherAreRefused) {
  TrainOptions o = small("run");
  o.seq_len = 17;
  expect_usage_error_of(o, {"--seq-len 17", "16"});
  o = small("run");
  o.total_batch = 100;
  expect_usage_error_of(o, {"--total-batch 100", "32"});
  o = small("run");
  o.channels = 15;
  expect_error_of(o, {"channels", "15", "heads"});
  o = small("run");
  o.steps = -1;
  o.warmup = 1000;
  expect_usage_error_of(o, {"--warmup 1000"});
  o = small("run");
  o.model = "gpt2-meduim";
  expect_usage_error_of(o, {"gpt2-medium"});
  o.model = (dir_ / "none/at/all").string();
  expect_error_of(o, {(dir_ / "none/at/all").string()});
  EXPECT_FALSE(fs::exists(dir_ / "run/main.log"));
}

TEST_F(Sources, APlanBeyondTheMachinesMemoryIsRefusedBeforeAnythingIsDone) {
  TrainOptions o = small("run");
  o.layers = 1000;
  o.channels = 65536;
  expect_error_of(o, {"needs", "GiB", "device has"});
  EXPECT_FALSE(fs::exists(o.out));
}

// The run folder.

TEST_F(Sources, ADryRunPlansAndDoesNothing) {
  TrainOptions o = small("run");
  o.layers = 1000;
  o.channels = 65536;
  o.dry_run = true;
  ThreadPool pool(1);
  const auto ops = make_ops("cpu", pool);
  const Trainer trainer(o, *ops, pool, [](const std::string&) {});
  EXPECT_GT(trainer.model().plan().bytes(), size_t{1} << 44);
  EXPECT_NE(trainer.model().plan().report(0).find("activations"), std::string::npos);
  EXPECT_EQ(names_in(dir_.path()), (std::vector<std::string>{"text.txt"}));
}

TEST_F(Sources, AFolderThatHoldsARunIsNotOverwrittenUnasked) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  const std::string log = read_file(o.out / "main.log");
  expect_usage_error_of(o, {o.out.string(), "--resume", "--overwrite"});
  EXPECT_EQ(read_file(o.out / "main.log"), log);
  write_file(o.out / "notes.txt", "mine");
  o.overwrite = true;
  o.steps = 5;
  train(o);
  EXPECT_EQ(losses("run").size(), 5u);
  EXPECT_EQ(list_checkpoints(o.out).size(), 1u);
  EXPECT_EQ(list_checkpoints(o.out)[0].step, 5);
  EXPECT_EQ(read_file(o.out / "notes.txt"), "mine");
}

TEST_F(Sources, AReplacementThatFailsLeavesTheRunAsItWas) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  const std::vector<std::string> names = names_in(o.out);
  const std::string log = read_file(o.out / "main.log"), shard = read_file(o.out / "data/train_000000.bin");
  o.overwrite = true;
  o.tokenizer = "byte";
  TrainOptions no_text = o, too_long = o, no_checkpoint = o;
  no_text.data = {dir_ / "none.txt"};
  too_long.warmup = 1000;
  too_long.steps = -1;
  no_checkpoint.model = (dir_ / "none/model").string();
  for (const TrainOptions& failing : {no_text, too_long, no_checkpoint}) {
    EXPECT_NE(error_of(failing), "no error");
    EXPECT_EQ(read_file(o.out / "data/train_000000.bin"), shard);
    EXPECT_EQ(names_in(o.out), names);
    EXPECT_EQ(read_file(o.out / "main.log"), log);
  }
  EXPECT_EQ(list_checkpoints(o.out).size(), 1u);
}

TEST_F(Sources, ResumingWithoutACheckpointStartsAnew) {
  TrainOptions o = small("run");
  o.resume = true;
  o.steps = 10;
  train(o);
  EXPECT_NE(notes_.find("no checkpoint"), std::string::npos) << notes_;
  EXPECT_EQ(losses("run").size(), 10u);
  TrainOptions nothing;
  nothing.out = dir_ / "nothing";
  nothing.resume = true;
  expect_usage_error_of(nothing, {"--resume", "--data"});
  EXPECT_FALSE(fs::exists(nothing.out));
}

TEST_F(Sources, ADamagedCheckpointIsNamedAndAnEarlierOneWorks) {
  TrainOptions o = small("run");
  train(o);
  const fs::path file = checkpoint_path(o.out, 20) / "model.safetensors";
  std::string bytes = read_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(file, bytes);
  o.resume = true;
  o.steps = 25;
  expect_error_of(o, {file.string(), "remove this checkpoint"});
  remove_tree(checkpoint_path(o.out, 20));
  EXPECT_EQ(error_of(o), "no error");
  EXPECT_EQ(losses("run").size(), 25u);
}

TEST_F(Sources, ResumingClearsWhatAKilledProcessLeft) {
  TrainOptions o = small("run");
  o.steps = 10;
  train(o);
  make_directories(o.out / ".step_00000003.tmp");
  write_file(o.out / ".step_00000003.tmp/model.safetensors", "half");
  write_file(o.out / ".mine.tmp", "another program's");
  o.resume = true;
  train(o);
  EXPECT_FALSE(fs::exists(o.out / ".step_00000003.tmp"));
  EXPECT_TRUE(fs::exists(o.out / ".mine.tmp"));
}

TEST_F(Sources, OtherDataThanTheCheckpointsIsRefused) {
  write_shards();
  TrainOptions o = on_shards("run");
  o.steps = 10;
  train(o);
  write_shard(dir_ / "train_0.bin", random_ids(301, 50, 1));
  o.resume = true;
  o.steps = 12;
  expect_error_of(o, {"301", "300", "same data"});
}

TEST_F(Sources, AFolderThatCannotBeIsNamed) {
  TrainOptions o = small("text.txt/run");  // below a file
  expect_error_of(o, {(dir_ / "text.txt").string()});
  write_shards();
  TrainOptions shards = on_shards("text.txt/run");
  expect_error_of(shards, {(dir_ / "text.txt").string()});
}

}  // namespace
}  // namespace ink
