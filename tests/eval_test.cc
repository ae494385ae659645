// eval: losses of text over windows, multiple choice, and what --data names.
#include <gtest/gtest.h>

#include <cmath>

#include "ink/data/shard.h"
#include "ink/eval/choices.h"
#include "ink/eval/text_loss.h"
#include "ink/eval/texts.h"
#include "ink/format/model_io.h"
#include "ink/infer/weights.h"
#include "tests/data_cache.h"
#include "tests/data_fixtures.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

class EvalTest : public testing::Test {
 protected:
  EvalTest() : ops_(make_ops("ref", pool_)), trained_(make_model(*ops_, {})) {
    model_ = make_inference({.sequences = 2, .rows = 5});
  }

  std::unique_ptr<Gpt2Inference> make_inference(const InferenceOptions& options) {
    return std::make_unique<Gpt2Inference>(load_inference_weights(model_source(*trained_), *ops_), options, *ops_);
  }

  // -log p of target after all of ids, computed by the training model in one piece.
  double loss_after(std::span<const int32_t> ids, int32_t target) {
    std::vector<int32_t> targets(ids.size(), 0);
    targets.back() = target;
    trained_->loss(ids, targets, 1, static_cast<int64_t>(ids.size()));
    return trained_->losses()[ids.size() - 1];
  }

  static TokenStream stream(const std::vector<int32_t>& ids) {
    return {static_cast<int64_t>(ids.size()), [&ids](int64_t i) { return ids[static_cast<size_t>(i)]; }};
  }

  // What text_loss must give: for every prediction the window that it first appears in.
  TextLoss by_hand(const std::vector<int32_t>& ids, int64_t context, int64_t stride, int64_t skip) {
    TextLoss expected;
    std::vector<bool> done(ids.size());
    for (size_t begin = 0; begin + 1 < ids.size(); begin += static_cast<size_t>(stride)) {
      for (size_t n = 1; n <= static_cast<size_t>(context) && begin + n < ids.size(); ++n) {
        if (done[begin + n] || n <= static_cast<size_t>(skip)) continue;
        done[begin + n] = true;
        expected.nats += loss_after(std::span(ids).subspan(begin, n), ids[begin + n]);
        ++expected.tokens;
      }
    }
    return expected;
  }

  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Gpt2> trained_;
  std::unique_ptr<Gpt2Inference> model_;
  std::shared_ptr<const Tokenizer> bytes_ = make_byte_tokenizer();
};

TEST_F(EvalTest, WindowsCountEveryTokenOnce) {
  const std::vector<int32_t> ids = random_ids(31, kTiny.vocab, 3);
  struct Case {
    WindowOptions options;
    int64_t tokens, windows;
  };
  for (const Case& c : {Case{{}, 30, 3},
                        {{.context = 10}, 30, 3},
                        {{.context = 30 - 18}, 30, 3},
                        {{.context = 8, .stride = 3}, 30, 9},
                        {{.context = 8, .stride = 4, .skip = 4}, 26, 7},
                        {{.context = 4, .stride = 5}, 24, 6},
                        {{.context = 7, .stride = 8, .skip = 4}, 11, 4},
                        {{.context = 1}, 30, 30}}) {
    const TextLoss loss = text_loss(*model_, stream(ids), c.options, *bytes_);
    const int64_t context = c.options.context == 0 ? kTiny.context : c.options.context;
    const TextLoss expected = by_hand(ids, context, c.options.stride == 0 ? context : c.options.stride, c.options.skip);
    EXPECT_EQ(loss.tokens, c.tokens);
    EXPECT_EQ(loss.tokens, expected.tokens);
    EXPECT_EQ(loss.windows, c.windows);
    EXPECT_NEAR(loss.nats, expected.nats, 1e-4);
    EXPECT_EQ(loss.bytes, loss.tokens) << "one byte a token";
    EXPECT_EQ(model_->cache().free_pages(), model_->cache().pages()) << "no sequence is left behind";
  }
}

TEST_F(EvalTest, IsTheValidationLossOfTraining) {
  const std::vector<int32_t> ids = random_ids(25, kTiny.vocab, 4);
  double sum = 0;
  for (size_t begin = 0; begin < 24; begin += 12) {
    const std::span<const int32_t> all(ids);
    sum += trained_->loss(all.subspan(begin, 12), all.subspan(begin + 1, 12), 1, 12);
  }
  const TextLoss loss = text_loss(*model_, stream(ids), {}, *bytes_);
  EXPECT_NEAR(loss.mean(), sum / 2, 1e-5);
  EXPECT_DOUBLE_EQ(loss.perplexity(), std::exp(loss.mean()));
  EXPECT_DOUBLE_EQ(loss.bits_per_byte(), loss.mean() / std::log(2.0));
}

TEST_F(EvalTest, SpecialTokensHaveNoBytes) {
  const TextLoss two = {.tokens = 2, .windows = 1, .bytes = 4, .nats = 3};
  TextLoss sum = two;
  sum += two;
  EXPECT_EQ(sum.tokens, 4);
  EXPECT_DOUBLE_EQ(sum.bits_per_byte(), 6 / std::log(2.0) / 8);
  EXPECT_TRUE(std::isinf(TextLoss{.tokens = 1}.bits_per_byte()));
  // 28 is the special token here, and every other one two bytes.
  class Special : public WordTokenizer {
   public:
    std::string_view token(int32_t /*id*/) const override { return "ab"; }
    std::vector<std::pair<std::string, int32_t>> special_tokens() const override { return {{"<end>", 28}}; }
  } tokenizer;
  tokenizer.vocab = 29;
  const std::vector<int32_t> ids = {28, 1, 28, 2, 3};
  EXPECT_EQ(text_loss(*model_, stream(ids), {}, tokenizer).bytes, 6);
  tokenizer.vocab = 3;
  EXPECT_EQ(text_loss(*model_, stream(ids), {}, tokenizer).bytes, 4) << "ids beyond the tokenizer are no text";
}

TEST_F(EvalTest, WindowsOutOfRangeAreRefused) {
  const std::vector<int32_t> ids = random_ids(30, kTiny.vocab, 3);
  const auto refused = [&](const WindowOptions& options, std::string_view text, size_t tokens = 30) {
    const std::vector<int32_t> some(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(tokens));
    expect_error([&] { text_loss(*model_, stream(some), options, *bytes_); }, {text});
  };
  refused({.context = 13}, "a context of 13 tokens; the model has room for 1 to 12");
  refused({.context = -1}, "a context of -1");
  refused({.stride = -1}, "-1 tokens apart");
  refused({.skip = -1}, "the first -1");
  refused({.context = 4, .skip = 4}, "the first 4 cannot");
  refused({}, "1 tokens are too few", 1);
  refused({}, "0 tokens are too few", 0);
  refused({.skip = 6}, "none counts", 5);
  const std::vector<int32_t> beyond = {1, 29};
  expect_error([&] { text_loss(*model_, stream(beyond), {}, *bytes_); }, {"29"});
  EXPECT_EQ(model_->cache().free_pages(), model_->cache().pages());
}

TEST_F(EvalTest, ReportsProgressToTheEnd) {
  const std::vector<int32_t> ids = random_ids(30, kTiny.vocab, 3);
  std::vector<int64_t> steps;
  text_loss(*model_, stream(ids), {}, *bytes_, [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 29);
    steps.push_back(done);
  });
  EXPECT_EQ(steps, (std::vector<int64_t>{12, 24, 29}));
}

// Losses by the training model in llm.c's layout: each row context and completion, targets one on, averaged where the
// mask is set.
TEST_F(EvalTest, CompletionsAreScoredByLlmcsRule) {
  for (const size_t context : {1u, 5u}) {
    const ChoiceExample example = {.context = random_ids(static_cast<int64_t>(context), kTiny.vocab, 9),
                                   .completions = {{3}, {4, 5, 6}, {7, 8}, {4, 5, 6, 1, 2, 0, 28}},
                                   .label = 1};
    const std::vector<CompletionLoss> losses = completion_losses(*model_, example);
    ASSERT_EQ(losses.size(), 4u);
    for (size_t c = 0; c < 4; ++c) {
      std::vector<int32_t> row = example.context;
      row.insert(row.end(), example.completions[c].begin(), example.completions[c].end());
      const std::span<const int32_t> all(row);
      trained_->loss(all.first(row.size() - 1), all.subspan(1), 1, static_cast<int64_t>(row.size()) - 1);
      double sum = 0;
      for (size_t t = context - 1; t < row.size() - 1; ++t) sum += trained_->losses()[t];
      EXPECT_NEAR(losses[c].sum, sum, 1e-4) << c;
      EXPECT_EQ(losses[c].tokens, static_cast<int64_t>(example.completions[c].size()));
    }
    EXPECT_EQ(model_->cache().free_pages(), model_->cache().pages());
  }
}

TEST_F(EvalTest, CompletionsHaveTheSameBitsAloneAndTogether) {
  Gpt2Config config = kTiny;
  config.context = 3 * kPagePositions;  // of which contexts end in the middle, at the end and at the beginning
  trained_ = make_model(*ops_, {}, config);
  const auto alone = make_inference({.sequences = 2});
  for (const int64_t context : {1, 20, 32, 33, 70}) {
    ChoiceExample example = {.context = random_ids(context, config.vocab, 9), .completions = {}, .label = 0};
    for (uint32_t i = 0; i < 7; ++i) example.completions.push_back(random_ids(1 + 3 * i, config.vocab, i));
    example.completions.push_back(random_ids(27, config.vocab, 100));
    const std::vector<CompletionLoss> expected = completion_losses(*alone, example);
    ASSERT_EQ(expected.size(), 8u);
    // All at once, some at a time for want of sequences, for want of pages.
    for (const InferenceOptions& options : {InferenceOptions{.sequences = 9}, InferenceOptions{.sequences = 4},
                                            InferenceOptions{.sequences = 9, .pages = 6}}) {
      const auto model = make_inference(options);
      const std::vector<CompletionLoss> losses = completion_losses(*model, example);
      ASSERT_EQ(losses.size(), 8u);
      for (size_t c = 0; c < losses.size(); ++c) {
        EXPECT_EQ(losses[c].sum, expected[c].sum) << c;
        EXPECT_EQ(losses[c].tokens, expected[c].tokens) << c;
      }
      EXPECT_EQ(model->cache().free_pages(), model->cache().pages());
      EXPECT_EQ(model->cache().free_sequences(), options.sequences);
    }
  }
}

TEST_F(EvalTest, AccuracyBySumAndByMean) {
  std::vector<ChoiceExample> examples;
  int64_t right = 0, right_norm = 0;
  for (uint32_t i = 0; i < 12; ++i) {
    ChoiceExample example = {.context = random_ids(3, kTiny.vocab, i), .completions = {}, .label = int32_t(i % 3)};
    for (uint32_t c = 0; c < 3; ++c) example.completions.push_back(random_ids(1 + 3 * c, kTiny.vocab, 100 * i + c));
    size_t best = 0, best_norm = 0;
    const std::vector<CompletionLoss> losses = completion_losses(*model_, example);
    for (size_t c = 1; c < 3; ++c) {
      if (losses[c].sum < losses[best].sum) best = c;
      if (losses[c].mean() < losses[best_norm].mean()) best_norm = c;
    }
    right += best == i % 3;
    right_norm += best_norm == i % 3;
    examples.push_back(example);
  }
  int64_t last = 0;
  const ChoiceResult result = answer_choices(*model_, examples, [&](int64_t done, int64_t) { last = done; });
  EXPECT_EQ(result.examples, 12);
  EXPECT_EQ(result.right, right);
  EXPECT_EQ(result.right_norm, right_norm);
  EXPECT_NE(right, right_norm) << "the sum favours short completions: the two rules must differ here";
  EXPECT_EQ(result.cut, 0);
  EXPECT_EQ(last, 12);
  EXPECT_DOUBLE_EQ(result.acc(), static_cast<double>(right) / 12);
}

TEST_F(EvalTest, TheFirstOfEqualCompletionsWins) {
  const std::vector<ChoiceExample> first = {{.context = {1}, .completions = {{2}, {2}}, .label = 0}};
  const std::vector<ChoiceExample> second = {{.context = {1}, .completions = {{2}, {2}}, .label = 1}};
  EXPECT_EQ(answer_choices(*model_, first).right_norm, 1);
  EXPECT_EQ(answer_choices(*model_, second).right_norm, 0);
}

TEST_F(EvalTest, ALongContextLosesItsBeginning) {
  ChoiceExample example = {.context = random_ids(40, kTiny.vocab, 9), .completions = {{3}, {4, 5, 6}}, .label = 1};
  const std::vector<CompletionLoss> losses = completion_losses(*model_, example);
  EXPECT_EQ(answer_choices(*model_, std::span(&example, 1)).cut, 1);
  example.context.erase(example.context.begin(), example.context.end() - 10);  // 12 + 1 - 3
  EXPECT_EQ(answer_choices(*model_, std::span(&example, 1)).cut, 0);
  const std::vector<CompletionLoss> same = completion_losses(*model_, example);
  for (size_t c = 0; c < 2; ++c) EXPECT_EQ(losses[c].sum, same[c].sum);
  example.completions[1] = random_ids(12, kTiny.vocab, 1);
  EXPECT_EQ(answer_choices(*model_, std::span(&example, 1)).cut, 1) << "one token of context is left";
  example.completions[1].push_back(1);
  expect_error([&] { answer_choices(*model_, std::span(&example, 1)); },
               {"example 0: a completion of 13 tokens does not fit the context of 12"});
  example.completions[1] = {29};
  expect_error([&] { answer_choices(*model_, std::span(&example, 1)); }, {"example 0: ", "29"});
  EXPECT_EQ(model_->cache().free_pages(), model_->cache().pages());
}

TEST(WilsonInterval, KnownValues) {
  const Interval third = wilson_interval(10, 30);
  EXPECT_NEAR(third.low, 0.19230, 1e-5);
  EXPECT_NEAR(third.high, 0.51220, 1e-5);
  EXPECT_NEAR(wilson_interval(0, 10).low, 0, 1e-12);
  EXPECT_NEAR(wilson_interval(0, 10).high, 0.27753, 1e-5);
  EXPECT_DOUBLE_EQ(wilson_interval(10, 10).high, 1);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

class EvalTextsTest : public CacheTest {
 protected:
  EvalTexts open(const std::string& data, std::optional<Split> split = {}) {
    return open_eval_texts(data, split, *tokenizer_, 256, pool_);
  }
  static std::string text_of(const EvalTexts& texts) {
    std::string text;
    for (const TokenStream& stream : texts.streams) {
      for (int64_t i = 0; i < stream.size; ++i) text += static_cast<char>(stream.token(i));
      text += '|';
    }
    return text;
  }
  void write_shard(const fs::path& path, const std::vector<int32_t>& ids) {
    make_directories(path.parent_path());
    ShardWriter shard(path);
    shard.write(std::span<const int32_t>(ids));
    shard.commit();
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = make_byte_tokenizer();
  ThreadPool pool_{1};
};

TEST_F(EvalTextsTest, TextFilesAreTakenWhole) {
  write_file(dir_ / "a.txt", "0123456789");
  EXPECT_EQ(text_of(open(dir_ / "a.txt")), "0123456789|");
  EXPECT_EQ(text_of(open(dir_ / "a.txt", Split::all)), "0123456789|");
  EXPECT_EQ(text_of(open(dir_ / "a.txt", Split::train)), "012345678|");
  EXPECT_EQ(text_of(open(dir_ / "a.txt", Split::val)), "9|");
  EXPECT_EQ(open(dir_ / "a.txt", Split::val).name, (dir_ / "a.txt").string() + " (val)");
  make_directories(dir_ / "texts");
  write_file(dir_ / "texts/1.txt", "one");
  write_file(dir_ / "texts/2.txt", "two");
  EXPECT_EQ(text_of(open(dir_ / "texts")), "one|two|");
}

TEST_F(EvalTextsTest, TheValidationTextIsThatOfPrepare) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += fmt::format("word{} ", i);
  write_file(dir_ / "a.txt", text);
  const auto words = std::make_shared<WordTokenizer>();
  PrepareOptions options;
  options.paths = {dir_ / "a.txt"};
  options.out = dir_ / "prepared";
  options.tokenizer = words;
  options.documents = false;
  const PrepareResult prepared = prepare(options, pool_);
  const EvalTexts val = open_eval_texts(dir_ / "a.txt", Split::val, *words, 257, pool_);
  std::string shard;
  for (const int32_t id : shard_ids(prepared.val_shards.at(0))) shard += static_cast<char>(id);
  EXPECT_EQ(text_of(val), shard + "|");
}

TEST_F(EvalTextsTest, ShardsAndFoldersOfThem) {
  write_shard(dir_ / "run/data/train_000000.bin", {'t'});
  write_shard(dir_ / "run/data/val_000000.bin", {'v', '0'});
  write_shard(dir_ / "run/data/val_000001.bin", {'v', '1'});
  const std::string folder = dir_ / "run/data";
  EXPECT_EQ(text_of(open(folder)), "v0|v1|");
  EXPECT_EQ(open(folder).name, folder + " (val)");
  EXPECT_EQ(text_of(open(folder, Split::train)), "t|");
  EXPECT_EQ(text_of(open(folder, Split::all)), "t|v0|v1|");
  EXPECT_EQ(text_of(open(folder + "/val_000001.bin")), "v1|");
  EXPECT_THROW(open(folder + "/val_000001.bin", Split::val), UsageError);
  EXPECT_EQ(validation_data_of(dir_ / "run"), folder);
  EXPECT_EQ(validation_data_of(dir_ / "none"), "");
  fs::remove(dir_ / "run/data/train_000000.bin");
  expect_error([&] { open(folder, Split::train); }, {"no shards with \"train\"", "--split"});
  write_shard(dir_ / "big.bin", {1, 256});
  expect_error([&] { open(dir_ / "big.bin"); }, {"big.bin", "256"});
}

TEST_F(EvalTextsTest, DataSetsByName) {
  expect_error([&] { open("tinyshakespear"); }, {"did you mean 'tinyshakespeare'?"});
  EXPECT_THROW(open("tinyshakespear"), UsageError);
  expect_error([&] { open("no/such/file"); }, {"no/such/file: no such file or folder"});
  expect_error([&] { open("missing.txt"); }, {"missing.txt: no such file or folder"});
  write_file(dir_ / "bad.bin", std::string("ink\0ink", 7));
  expect_error([&] { open(dir_ / "empty"); }, {"no such file"});
  const auto letters = make_char_tokenizer("ab");
  write_file(dir_ / "c.txt", "abc");
  expect_error([&] { open_eval_texts(dir_ / "c.txt", {}, *letters, 2, pool_); }, {"c.txt: "});
  EXPECT_EQ(split_from_name("train"), Split::train);
  expect_error([] { split_from_name("valid"); }, {"unknown split 'valid'"});
}

}  // namespace
}  // namespace ink
