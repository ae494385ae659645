// The forward pass of inference against the one of training; that a sequence's bits do not depend on how its tokens
// come or on what else is computed with them; the pages of the key-value cache.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ink/format/model_io.h"
#include "ink/infer/weights.h"
#include "ink/model/gpt2_inference.h"
#include "ink/tensor/cast.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

// More than two pages of positions, heads of 32 channels, rows that are whole blocks of q8_0.
constexpr Gpt2Config kSmall = {.context = 90, .vocab = 61, .layers = 2, .heads = 2, .channels = 64};

// A model whose matrices and embedding are of one type, (out,in) or as Hugging Face stores them.
class TypedSource final : public ModelSource {
 public:
  TypedSource(const Gpt2& model, DType dtype, bool transposed)
      : f32_(model_source(model)), dtype_(dtype), transposed_(transposed) {}

  std::string description() const override { return "a model in memory"; }
  const Gpt2Config& config() const override { return f32_->config(); }
  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    StoredTensor t = f32_->tensor(spec, layer);
    if (t.shape.rank() == 1 || dtype_ == DType::f32) return t;
    std::vector<float> values(static_cast<size_t>(t.shape.numel()));
    read_elements(t, 0, values);
    if (transposed_ && spec.transposed) {
      std::vector<float> turned(values.size());
      const int64_t rows = t.shape[0], cols = t.shape[1];
      for (int64_t i = 0; i < rows * cols; ++i)
        turned[static_cast<size_t>(i % cols * rows + i / cols)] = values[static_cast<size_t>(i)];
      values = turned;
      t.shape = {cols, rows};
      t.transposed = true;
    }
    const auto bytes = std::make_shared<std::vector<std::byte>>(bytes_of(dtype_, t.shape.numel()));
    from_f32(values, dtype_, bytes->data());
    t.dtype = dtype_;
    t.data = *bytes;
    t.owner = bytes;
    return t;
  }

 private:
  std::unique_ptr<ModelSource> f32_;
  DType dtype_;
  bool transposed_;
};

class InferenceTest : public testing::TestWithParam<const char*> {
 protected:
  ThreadPool pool_{2};
  std::unique_ptr<Ops> ops_ = make_ops(GetParam(), pool_);
  std::unique_ptr<Gpt2> gpt2_ = make_model(*ops_, {.batch = 1, .context = 0}, kSmall);

  std::unique_ptr<Gpt2Inference> inference(const InferenceOptions& options = {}, DType dtype = DType::f32,
                                           bool transposed = false) {
    const auto source = std::make_shared<TypedSource>(*gpt2_, dtype, transposed);
    return std::make_unique<Gpt2Inference>(load_inference_weights(source, *ops_), options, *ops_);
  }

  // What follows ids, given in pieces of these sizes (the last one as often as need be).
  static std::vector<float> logits(Gpt2Inference& model, std::span<const int32_t> ids, std::vector<size_t> pieces) {
    std::vector<float> out(static_cast<size_t>(model.config().vocab));
    const int32_t sequence = model.cache().add();
    for (size_t i = 0; !ids.empty(); ++i) {
      const size_t n = std::min(ids.size(), pieces[std::min(i, pieces.size() - 1)]);
      const Gpt2Inference::Tokens tokens = {sequence, ids.first(n)};
      model.forward(std::span(&tokens, 1), out);
      ids = ids.subspan(n);
    }
    model.cache().remove(sequence);
    return out;
  }

  static void score(Gpt2Inference& model, const Gpt2Inference::Scored& scored) { model.losses(std::span(&scored, 1)); }

  std::vector<float> gpt2_logits(std::span<const int32_t> ids) {
    std::vector<float> out(static_cast<size_t>(kSmall.vocab));
    const auto t = static_cast<int64_t>(ids.size()), last = t - 1;
    gpt2_->logits(ids, 1, t, std::span(&last, 1), out);
    return out;
  }

  static void expect_near(const std::vector<float>& a, const std::vector<float>& b, float bound) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound) << "logit " << i;
  }
};

TEST_P(InferenceTest, GivesTheLogitsOfTheTrainingModel) {
  const auto model = inference();
  for (const int64_t length : {1, 2, 31, 32, 33, 64, 77, 90}) {
    const std::vector<int32_t> ids = random_ids(length, kSmall.vocab, 5);
    expect_near(logits(*model, ids, {90}), gpt2_logits(ids), 1e-5f);
  }
}

TEST_P(InferenceTest, BitsDoNotDependOnHowTheTokensCome) {
  const std::vector<int32_t> ids = random_ids(85, kSmall.vocab, 6);
  const auto model = inference(), cut = inference({.rows = 7});
  const std::vector<float> whole = logits(*model, ids, {90});
  EXPECT_EQ(logits(*model, ids, {1}), whole);
  EXPECT_EQ(logits(*model, ids, {40, 1}), whole);
  EXPECT_EQ(logits(*model, ids, {3, 30, 2, 13}), whole);
  EXPECT_EQ(logits(*cut, ids, {90}), whole);
}

TEST_P(InferenceTest, WeightsOfEveryTypeAgreeWithTheirValuesAndWithThemselves) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
    for (const bool transposed : {false, true}) {
      if (transposed && block_of(dtype) > 1) continue;  // blocks lie along the inputs
      SCOPED_TRACE(std::string(name_of(dtype)) + (transposed ? ", (in,out)" : ""));
      // The same model with the values that the type left of its weights.
      const TypedSource source(*gpt2_, dtype, transposed);
      auto rounded = make_model(*ops_, {.batch = 1, .context = 0}, kSmall);
      load_weights(source, *rounded);
      std::swap(gpt2_, rounded);
      const std::vector<int32_t> ids = random_ids(70, kSmall.vocab, 8);
      const std::vector<float> expected = gpt2_logits(ids);
      std::swap(gpt2_, rounded);
      const auto model = inference({}, dtype, transposed);
      const std::vector<float> whole = logits(*model, ids, {90});
      // q8_0 and q4_0 round what they multiply with to 8 bits.
      float largest = 0;
      for (const float x : expected) largest = std::max(largest, std::abs(x));
      expect_near(whole, expected, block_of(dtype) > 1 ? 0.03f * largest : 1e-5f * std::max(1.0f, largest));
      EXPECT_EQ(logits(*model, ids, {1}), whole);
      EXPECT_EQ(logits(*model, ids, {50, 1}), whole);
    }
  }
}

TEST_P(InferenceTest, BitsDoNotDependOnTheRestOfTheBatch) {
  const auto model = inference({.sequences = 3, .rows = 20});
  const std::vector<std::vector<int32_t>> texts = {random_ids(80, kSmall.vocab, 1), random_ids(33, kSmall.vocab, 2),
                                                   random_ids(50, kSmall.vocab, 3)};
  std::vector<int32_t> sequences;
  for (size_t i = 0; i < texts.size(); ++i) sequences.push_back(model->cache().add());
  const auto V = static_cast<size_t>(kSmall.vocab);
  std::vector<float> out(3 * V);
  // Each at its own position, one joining late, several tokens beside single ones.
  const auto part = [&](size_t i, size_t begin, size_t count) {
    return Gpt2Inference::Tokens{sequences[i], std::span(texts[i]).subspan(begin, count)};
  };
  model->forward(std::vector{part(0, 0, 40)}, std::span(out).first(V));
  model->forward(std::vector{part(0, 40, 1), part(1, 0, 30)}, std::span(out).first(2 * V));
  model->forward(std::vector{part(2, 0, 48), part(0, 41, 1), part(1, 30, 2)}, out);
  model->forward(std::vector{part(1, 32, 1), part(0, 42, 38), part(2, 48, 2)}, out);
  const auto alone = inference();
  for (size_t i = 0; i < 3; ++i) {
    const size_t at = std::vector<size_t>{1, 0, 2}[i];
    EXPECT_EQ(std::vector<float>(out.begin() + static_cast<int64_t>(at * V),
                                 out.begin() + static_cast<int64_t>((at + 1) * V)),
              logits(*alone, texts[i], {90}))
        << "sequence " << i;
  }
}

TEST_P(InferenceTest, BitsDoNotDependOnTheNumberOfThreads) {
  const std::vector<int32_t> ids = random_ids(85, kSmall.vocab, 6);
  for (const DType dtype : {DType::f32, DType::f16, DType::q8_0}) {
    const std::vector<float> two = logits(*inference({}, dtype), ids, {60, 1});
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      const std::unique_ptr<Ops> ops = make_ops(GetParam(), pool);
      const auto source = std::make_shared<TypedSource>(*gpt2_, dtype, false);
      Gpt2Inference model(load_inference_weights(source, *ops), {}, *ops);
      EXPECT_EQ(logits(model, ids, {60, 1}), two) << threads << " threads, " << name_of(dtype);
    }
  }
}

TEST_P(InferenceTest, LossesAreThoseOfTheTrainingModel) {
  const auto model = inference({.rows = 32});
  std::vector<int32_t> ids = random_ids(81, kSmall.vocab, 4);
  const std::span<const int32_t> in = std::span(ids).first(80), targets = std::span(ids).last(80);
  gpt2_->loss(in, targets, 1, 80);
  std::vector<float> losses(80);
  score(*model, {{model->cache().add(), in}, targets, losses});
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], gpt2_->losses()[i], 1e-5f) << i;

  // Left out: no loss, and the others as before.
  std::vector<int32_t> some(targets.begin(), targets.end());
  std::fill(some.begin(), some.begin() + 50, -1);
  std::vector<float> part(80, 1);
  model->cache().remove(0);
  score(*model, {{model->cache().add(), in}, some, part});
  for (size_t i = 0; i < 80; ++i) EXPECT_EQ(part[i], i < 50 ? 0 : losses[i]) << i;

  // None of them, one in the middle, the last.
  for (const size_t wanted : {80u, 37u, 79u}) {
    for (size_t i = 0; i < 80; ++i) some[i] = i == wanted ? targets[i] : -1;
    model->cache().remove(0);
    part.assign(80, 1);
    score(*model, {{model->cache().add(), in}, some, part});
    for (size_t i = 0; i < 80; ++i) EXPECT_EQ(part[i], i == wanted ? losses[i] : 0) << i;
  }
}

TEST_P(InferenceTest, BitsOfLossesDoNotDependOnTheRestOfTheBatch) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0}) {
    SCOPED_TRACE(name_of(dtype));
    const std::vector<std::vector<int32_t>> texts = {random_ids(81, kSmall.vocab, 1), random_ids(5, kSmall.vocab, 2),
                                                     random_ids(60, kSmall.vocab, 3), random_ids(2, kSmall.vocab, 4)};
    const auto together = inference({.sequences = 4, .rows = 50}, dtype), alone = inference({}, dtype);
    std::vector<std::vector<int32_t>> targets;
    std::vector<std::vector<float>> losses, expected;
    std::vector<Gpt2Inference::Scored> batch;
    for (const std::vector<int32_t>& ids : texts) {
      targets.emplace_back(ids.begin() + 1, ids.end());
      for (size_t t = 0; t < targets.back().size(); t += 7) targets.back()[t] = -1;
      losses.emplace_back(ids.size() - 1);
    }
    expected = losses;
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::span<const int32_t> ids = std::span(texts[i]).first(texts[i].size() - 1);
      batch.push_back({{together->cache().add(), ids}, targets[i], losses[i]});
      score(*alone, {{alone->cache().add(), ids}, targets[i], expected[i]});
      alone->cache().remove(0);
    }
    together->losses(batch);
    EXPECT_EQ(losses, expected);
  }
}

TEST_P(InferenceTest, AForkGoesOnFromTheSameBits) {
  const auto model = inference({.sequences = 3});
  const std::vector<int32_t> ids = random_ids(60, kSmall.vocab, 9);
  KvCache& cache = model->cache();
  std::vector<float> out(static_cast<size_t>(kSmall.vocab));
  const auto forward = [&](int32_t sequence, std::span<const int32_t> tokens) {
    const Gpt2Inference::Tokens t = {sequence, tokens};
    model->forward(std::span(&t, 1), out);
    return out;
  };
  const int32_t first = cache.add();
  forward(first, std::span(ids).first(45));
  for (const int64_t length : {45, 40, 32}) {
    const int64_t free = cache.free_pages();
    const int32_t copy = cache.fork(first, length);
    EXPECT_EQ(cache.length(copy), length);
    EXPECT_EQ(cache.free_pages(), free - (length % 32 == 0 ? 0 : 1));  // only what is not full is copied
    // Neither sees what the other goes on with.
    const std::vector<int32_t> other = random_ids(8, kSmall.vocab, 10);
    std::vector<int32_t> all(ids.begin(), ids.begin() + length);
    all.insert(all.end(), other.begin(), other.end());
    EXPECT_EQ(forward(copy, other), logits(*model, all, {90}));
    cache.remove(copy);
  }
  EXPECT_EQ(forward(first, std::span(ids).last(15)), logits(*model, ids, {90}));
}

TEST_P(InferenceTest, TruncatingASharedPageLeavesTheOtherSequenceAlone) {
  const auto model = inference({.sequences = 3});
  const std::vector<int32_t> ids = random_ids(70, kSmall.vocab, 9), other = random_ids(10, kSmall.vocab, 12);
  std::vector<float> out(static_cast<size_t>(kSmall.vocab));
  const auto forward = [&](int32_t sequence, std::span<const int32_t> tokens) {
    const Gpt2Inference::Tokens t = {sequence, tokens};
    model->forward(std::span(&t, 1), out);
    return out;
  };
  const int32_t first = model->cache().add();
  forward(first, std::span(ids).first(64));
  const int32_t copy = model->cache().fork(first, 64);
  model->cache().truncate(copy, 20);
  forward(copy, other);  // overwrites positions 20 to 29, in a page of its own
  EXPECT_EQ(forward(first, std::span(ids).last(6)), logits(*model, ids, {90}));
}

TEST_P(InferenceTest, ErrorsLeaveTheCacheAsItWas) {
  const auto model = inference({.sequences = 2, .pages = 4});
  KvCache& cache = model->cache();
  std::vector<float> out(2 * static_cast<size_t>(kSmall.vocab));
  const int32_t a = cache.add(), b = cache.add();
  const std::vector<int32_t> ids = random_ids(91, kSmall.vocab, 1), bad = {1, 61};
  const auto both = [&](std::span<const int32_t> first, std::span<const int32_t> second) {
    const std::vector<Gpt2Inference::Tokens> batch = {{a, first}, {b, second}};
    model->forward(batch, out);
  };
  const auto ids_of = [&](size_t n) { return std::span(ids).first(n); };
  expect_error([&] { both(ids_of(5), bad); }, {"token 61 at position 1", "vocabulary of 61"});
  expect_error([&] { both(ids_of(5), {}); }, {"no tokens"});
  expect_error([&] { both(ids_of(5), ids_of(91)); }, {"91 tokens after 0", "context of 90"});
  expect_error([&] { both(ids_of(70), ids_of(40)); }, {"1 free pages, 2 are wanted"});
  EXPECT_EQ(cache.length(a), 0);
  EXPECT_EQ(cache.length(b), 0);
  EXPECT_EQ(cache.free_pages(), 4);
  expect_error([&] { cache.add(); }, {"room for 2 sequences"});
  both(ids_of(60), ids_of(60));
  EXPECT_EQ(cache.free_pages(), 0);
  cache.remove(a);
  EXPECT_EQ(cache.free_pages(), 2);
  std::vector<float> losses(2);
  const std::vector<int32_t> beyond = {1, 61}, good = {1, 60};
  expect_error([&] { score(*model, {{b, ids_of(2)}, beyond, losses}); }, {"target 61"});
  EXPECT_EQ(cache.length(b), 60);
  std::vector<float> more(91);
  const std::vector<int32_t> many(91, -1);
  const int32_t c = cache.add();
  const std::vector<Gpt2Inference::Scored> batch = {{{c, ids_of(2)}, good, losses}, {{b, ids_of(91)}, many, more}};
  expect_error([&] { model->losses(batch); }, {"91 tokens after 60"});
  EXPECT_EQ(cache.length(c), 0);
  EXPECT_EQ(cache.free_pages(), 2);
}

TEST_P(InferenceTest, RefusesAContextBeyondTheModels) {
  expect_error([&] { inference({.context = 91}); }, {"context 91", "90"});
}

TEST_P(InferenceTest, AnUntiedHeadIsUsed) {
  Gpt2Config config = kSmall;
  config.tied = false;
  gpt2_ = make_model(*ops_, {.batch = 1, .context = 0}, config);
  const std::vector<int32_t> ids = random_ids(40, kSmall.vocab, 5);
  const auto model = inference();
  EXPECT_NE(model->weights().head.data, model->weights().wte.data);
  expect_near(logits(*model, ids, {90}), gpt2_logits(ids), 1e-5f);
}

INSTANTIATE_TEST_SUITE_P(Devices, InferenceTest, testing::Values("ref", "cpu"), [](const auto& p) { return p.param; });

}  // namespace
}  // namespace ink
