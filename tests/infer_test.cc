// From logits to tokens, from tokens to text.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/base/rng.h"
#include "ink/format/model_io.h"
#include "ink/infer/generator.h"
#include "ink/infer/model.h"
#include "ink/infer/sampler.h"
#include "ink/infer/weights.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> logs(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<int32_t> draw(const SamplerOptions& options, const std::vector<float>& logits, int count) {
  Sampler sampler(options, static_cast<int64_t>(logits.size()));
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(sampler.next(logits));
  return ids;
}

std::set<int32_t> drawn(const SamplerOptions& options, const std::vector<float>& logits, int count = 500) {
  const std::vector<int32_t> ids = draw(options, logits, count);
  return {ids.begin(), ids.end()};
}

std::vector<double> frequencies(const SamplerOptions& options, const std::vector<float>& logits) {
  constexpr int kDraws = 20000;
  std::vector<double> shares(logits.size());
  for (const int32_t id : draw(options, logits, kDraws)) shares[static_cast<size_t>(id)] += 1.0 / kDraws;
  return shares;
}

TEST(Sampler, GreedyTakesTheLikeliestAndOfEqualsTheLowestId) {
  EXPECT_EQ(drawn({.temperature = 0}, {0.1f, 2.0f, -1.0f}, 3), std::set<int32_t>{1});
  EXPECT_EQ(drawn({.temperature = 0}, {1.0f, 3.0f, 3.0f, 2.0f, 3.0f}, 3), std::set<int32_t>{1});
}

TEST(Sampler, DrawsOneNumberATokenAndWalksTheIdsInOrder) {
  // Four equal tokens: the id is the quarter that the random number falls into.
  XorShift rng(7);
  Sampler sampler({.seed = 7}, 4);
  const std::vector<float> logits(4, 1.5f);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(sampler.next(logits), static_cast<int32_t>(rng.uniform() * 4)) << i;
}

TEST(Sampler, CutsDrawAsManyNumbersAsNoCuts) {
  const std::vector<float> logits(4, 0.0f);
  const SamplerOptions cut = {.top_k = 4, .top_p = 0.9999f};
  EXPECT_EQ(draw({}, logits, 200), draw(cut, logits, 200));
}

TEST(Sampler, FollowsTheProbabilities) {
  const std::vector<double> shares = frequencies({}, logs({0.5, 0.3, 0.15, 0.05}));
  EXPECT_NEAR(shares[0], 0.5, 0.012);
  EXPECT_NEAR(shares[1], 0.3, 0.012);
  EXPECT_NEAR(shares[2], 0.15, 0.012);
  EXPECT_NEAR(shares[3], 0.05, 0.012);
}

TEST(Sampler, TemperatureIsAPowerOfTheOdds) {
  const std::vector<float> logits = logs({0.8, 0.2});  // odds 4 : 1
  EXPECT_NEAR(frequencies({.temperature = 0.5f}, logits)[0], 16.0 / 17, 0.01);
  EXPECT_NEAR(frequencies({.temperature = 2}, logits)[0], 2.0 / 3, 0.012);
  EXPECT_EQ(drawn({.temperature = 1e-30f}, logits), std::set<int32_t>{0});
}

TEST(Sampler, TopKKeepsTheKLikeliest) {
  const std::vector<float> logits = {0, 3, 1, 2};
  EXPECT_EQ(drawn({.temperature = 5, .top_k = 1}, logits), (std::set<int32_t>{1}));
  EXPECT_EQ(drawn({.temperature = 5, .top_k = 2}, logits), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(drawn({.temperature = 5, .top_k = 3}, logits), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(drawn({.temperature = 5, .top_k = 100}, logits), (std::set<int32_t>{0, 1, 2, 3}));
}

TEST(Sampler, TopKOfEqualsKeepsTheLowestIds) {
  EXPECT_EQ(drawn({.top_k = 2}, {1, 1, 1, 1}), (std::set<int32_t>{0, 1}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Four equal tokens: sums of 1/4 are exact.
  const std::vector<float> equal(4, 0.0f);
  EXPECT_EQ(drawn({.top_p = 0.01f}, equal), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn({.top_p = 0.25f}, equal), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn({.top_p = 0.5f}, equal), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(drawn({.top_p = 0.5001f}, equal), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(drawn({.top_p = 0.75f}, equal), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(drawn({.top_p = 0.7501f}, equal), (std::set<int32_t>{0, 1, 2, 3}));
  const std::vector<float> unequal = logs({0.1, 0.6, 0.3});
  EXPECT_EQ(drawn({.top_p = 0.59f}, unequal), (std::set<int32_t>{1}));
  EXPECT_EQ(drawn({.top_p = 0.61f}, unequal), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(drawn({.top_p = 0.91f}, unequal), (std::set<int32_t>{0, 1, 2}));
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  // Of four equal tokens two are left, and the first of them is half of what is left.
  EXPECT_EQ(drawn({.top_k = 2, .top_p = 0.5f}, {0, 0, 0, 0}), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn({.top_k = 2, .top_p = 0.51f}, {0, 0, 0, 0}), (std::set<int32_t>{0, 1}));
}

TEST(Sampler, TheSeedDecides) {
  const std::vector<float> logits = logs({0.25, 0.25, 0.2, 0.3});
  EXPECT_EQ(draw({.seed = 5}, logits, 100), draw({.seed = 5}, logits, 100));
  EXPECT_NE(draw({.seed = 5}, logits, 100), draw({.seed = 6}, logits, 100));
  EXPECT_EQ(draw({.seed = 0}, logits, 100), draw({.seed = 0}, logits, 100));
}

TEST(Sampler, NeverDrawsWhatHasNoProbability) {
  EXPECT_EQ(drawn({}, {kNan, 1, -kInf, 1}), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(drawn({.top_k = 3, .top_p = 0.999f}, {kNan, 1, -kInf, 1}), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(drawn({.temperature = 0}, {kNan, -5, kNan}, 3), (std::set<int32_t>{1}));
}

TEST(Sampler, AnInfiniteLogitIsCertain) {
  for (const SamplerOptions& options : {SamplerOptions{}, {.temperature = 0}, {.top_k = 2}, {.top_p = 0.9f}}) {
    EXPECT_EQ(drawn(options, {3, 9, kInf, 4}, 20), (std::set<int32_t>{2}));
  }
}

TEST(Sampler, WithoutAnyNumberTheFirstIdIsTaken) {
  for (const SamplerOptions& options : {SamplerOptions{}, {.temperature = 0}, {.top_k = 2}, {.top_p = 0.9f}}) {
    EXPECT_EQ(drawn(options, {kNan, kNan, kNan}, 20), (std::set<int32_t>{0}));
    EXPECT_EQ(drawn(options, {-kInf, -kInf}, 20), (std::set<int32_t>{0}));
  }
}

TEST(Sampler, PresenceAndFrequencyPenaltyLookAtWhatWasGenerated) {
  const std::vector<float> logits = {0, 1, 2};
  const auto next = [&](const SamplerOptions& options, const std::vector<int32_t>& seen, size_t prompt) {
    return Sampler(options, 3).next(logits, seen, prompt);
  };
  const SamplerOptions presence = {.temperature = 0, .presence_penalty = 1.5f};
  EXPECT_EQ(next(presence, {2}, 1), 2) << "the prompt does not count";
  EXPECT_EQ(next(presence, {2}, 0), 1);
  EXPECT_EQ(next(presence, {1, 2, 2, 2}, 1), 1) << "once, however often";
  EXPECT_EQ(next(presence, {2, 2, 1}, 0), 2) << "0.5 is left, of 1 nothing";
  const SamplerOptions frequency = {.temperature = 0, .frequency_penalty = 0.6f};
  EXPECT_EQ(next(frequency, {2}, 0), 2);
  EXPECT_EQ(next(frequency, {2, 2}, 0), 1);
  EXPECT_EQ(next(frequency, {2, 2}, 1), 2);
  EXPECT_EQ(next({.temperature = 0, .presence_penalty = -1.5f}, {1}, 0), 1) << "a reward";
  EXPECT_EQ(next(frequency, {7, -1, 2}, 0), 2) << "ids of no logit";
  EXPECT_THROW(Sampler({.presence_penalty = kNan}, 3), UsageError);
}

TEST(Sampler, MinPKeepsWhatIsLikelyBesideTheLikeliest) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(drawn({.min_p = 0.2f}, logits), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(drawn({.min_p = 0.5f}, logits), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(drawn({.min_p = 1}, logits), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn({.top_k = 2, .min_p = 0.2f}, logits), (std::set<int32_t>{0, 1}));
}

TEST(Sampler, AllCutsAreBeginningsOfTheSortedVocabulary) {
  std::vector<float> logits(60);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = -0.5f * static_cast<float>(i * 7 % 5);  // 12 of each
  std::vector<int32_t> sorted(logits.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  const auto logit = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  std::ranges::stable_sort(sorted, [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  for (const int64_t top_k : {0, 7, 30}) {
    for (const float top_p : {0.2f, 0.77f, 1.0f}) {
      for (const float min_p : {0.0f, 0.3f, 0.7f}) {
        const size_t k = top_k == 0 ? sorted.size() : static_cast<size_t>(top_k);
        double total = 0, reached = 0;
        for (size_t i = 0; i < k; ++i) total += std::exp(logit(sorted[i]));
        std::set<int32_t> expected;
        for (size_t i = 0; i < k && (top_p == 1 || reached < total * top_p); ++i) {
          if (std::exp(logit(sorted[i])) < min_p) break;
          expected.insert(sorted[i]);
          reached += std::exp(logit(sorted[i]));
        }
        EXPECT_EQ(drawn({.top_k = top_k, .top_p = top_p, .min_p = min_p}, logits, 5000), expected)
            << top_k << " " << top_p << " " << min_p;
      }
    }
  }
}

TEST(Sampler, TheRepetitionPenaltyPushesSeenTokensDown) {
  const std::vector<float> logits = {2, 1.5f, -1, -1.5f};
  Sampler greedy({.temperature = 0, .repetition_penalty = 2}, 4);
  EXPECT_EQ(greedy.next(logits), 0);
  EXPECT_EQ(greedy.next(logits, std::vector<int32_t>{0}), 1);           // 2 / 2 < 1.5
  EXPECT_EQ(greedy.next(logits, std::vector<int32_t>{0, 0, 0, 1}), 0);  // once each: 1 and 0.75
  const std::vector<float> negative = {-1, -1.5f};
  Sampler two({.temperature = 0, .repetition_penalty = 2}, 2);
  EXPECT_EQ(two.next(negative, std::vector<int32_t>{0}), 1);  // -1 · 2 < -1.5
  EXPECT_EQ(two.next(negative), 0);                           // nothing is left behind
  EXPECT_EQ(two.next(negative, std::vector<int32_t>{7}), 0);  // an id beyond those that are drawn
}

TEST(Sampler, BiasIsAddedToTheLogits) {
  const std::vector<float> logits = {0, 1, 2};
  EXPECT_EQ(draw({.temperature = 0, .logit_bias = {{0, 3.0f}}}, logits, 1), std::vector<int32_t>{0});
  EXPECT_EQ(draw({.temperature = 0, .logit_bias = {{2, -INFINITY}}}, logits, 1), std::vector<int32_t>{1});
  EXPECT_EQ(drawn({.logit_bias = {{0, 100.0f}}}, logits), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn({.logit_bias = {{1, -INFINITY}}}, logits), (std::set<int32_t>{0, 2}));
  EXPECT_THROW(Sampler({.logit_bias = {{3, 1.0f}}}, 3), UsageError);
  EXPECT_THROW(Sampler({.logit_bias = {{-1, 1.0f}}}, 3), UsageError);
}

TEST(Logprobs, AreOfTheModelsDistribution) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f) + 3, NAN, std::log(0.4f) + 3, std::log(0.2f)};
  const double total = 0.3 + 0.8 * std::exp(3.0);
  const std::vector<TokenLogprob> p = logprobs(logits, 4, 3);
  ASSERT_EQ(p.size(), 4u);
  EXPECT_EQ(p[0].id, 4);
  EXPECT_NEAR(p[0].logprob, std::log(0.2 / total), 1e-5);
  EXPECT_EQ(p[1].id, 1);  // of equals the lower id
  EXPECT_EQ(p[2].id, 3);
  EXPECT_EQ(p[3].id, 4);
  EXPECT_NEAR(p[1].logprob, std::log(0.4 * std::exp(3.0) / total), 1e-5);
  EXPECT_EQ(logprobs(logits, 0, 9).size(), 6u);
  EXPECT_EQ(logprobs(logits, 0, 0).size(), 1u);
}

TEST(StopStrings, EndTheTextBeforeTheFirst) {
  StopStrings stops({"END", "", "stop"});
  EXPECT_EQ(stops.push("some text E"), "some text ");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("X st"), "ENX ");
  EXPECT_EQ(stops.push("oEND and stop"), "sto");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, WhatWasHeldBackComesAtTheEnd) {
  StopStrings stops({"\n\nUser:"});
  EXPECT_EQ(stops.push("a\n\nUs"), "a");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.finish(), "\n\nUs");
  StopStrings none({});
  EXPECT_EQ(none.push("text"), "text");
}

TEST(StopStrings, HoweverTheTextIsCut) {
  const std::string text = "aab aaab aaaab aaaaab";
  for (size_t cut = 1; cut < text.size(); ++cut) {
    StopStrings stops({"aaaab", "b aaaaaX"});
    std::string out;
    for (size_t i = 0; i < text.size(); i += cut) out += stops.push(text.substr(i, cut));
    EXPECT_EQ(out + stops.finish(), "aab aaab ") << cut;
    EXPECT_TRUE(stops.found());
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refused = [](const SamplerOptions& options, std::string_view option) {
    expect_error([&] { options.validate(); }, {option});
    EXPECT_THROW(Sampler(options, 3), UsageError);
  };
  refused({.temperature = -0.1f}, "--temperature");
  refused({.temperature = kNan}, "--temperature");
  refused({.temperature = kInf}, "--temperature");
  refused({.top_k = -1}, "--top-k");
  refused({.top_p = 0}, "--top-p");
  refused({.top_p = 1.01f}, "--top-p");
  refused({.top_p = kNan}, "--top-p");
  refused({.min_p = -0.1f}, "--min-p");
  refused({.min_p = 1.1f}, "--min-p");
  refused({.repetition_penalty = 0}, "--repetition-penalty");
  refused({.repetition_penalty = INFINITY}, "--repetition-penalty");
  refused({.logit_bias = {{0, NAN}}}, "--logit-bias");
  SamplerOptions{.temperature = 0, .top_k = 0, .top_p = 1}.validate();
}

// What the stream shows when text arrives in pieces of one size.
std::vector<std::string> streamed(std::string_view text, size_t piece) {
  Utf8Stream stream;
  std::vector<std::string> shown;
  for (size_t at = 0; at < text.size(); at += piece) shown.push_back(stream.push(text.substr(at, piece)));
  shown.push_back(stream.finish());
  return shown;
}

TEST(Utf8Stream, HoldsBackCharactersUntilTheyAreWhole) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xc3"), "a");
  EXPECT_EQ(stream.push("\xa9z"), "\xc3\xa9z");
  EXPECT_EQ(stream.push("\xe2\x82"), "");
  EXPECT_EQ(stream.push("\xac"), "\xe2\x82\xac");
  EXPECT_EQ(stream.push("\xf0"), "");
  EXPECT_EQ(stream.push("\x9f\x98"), "");
  EXPECT_EQ(stream.push("\x80!"), "\xf0\x9f\x98\x80!");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, EveryPieceIsWholeHoweverTheTextIsSplit) {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xbcz";
  const std::set<std::string> boundaries = {"",
                                            "a",
                                            "a\xc3\xa9",
                                            "a\xc3\xa9\xe2\x82\xac",
                                            "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                            "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xbc",
                                            text};
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    std::string so_far;
    for (const std::string& shown : streamed(text, piece)) {
      so_far += shown;
      EXPECT_TRUE(boundaries.contains(so_far)) << "pieces of " << piece << " cut after byte " << so_far.size();
    }
    EXPECT_EQ(so_far, text);
  }
}

TEST(Utf8Stream, BytesThatAreNotUtf8PassThrough) {
  for (const std::string text : {"\xff\xfe", "\x80\x80\x80\x80\x80", "a\xc3(", "\xe2\x28\xa1", "\xf0\x9f", "\xc0\xaf",
                                 "\xf5\x80\x80\x80", "\xc3\xc3\xc3", "ok\xe2\x82"}) {
    for (size_t piece = 1; piece <= text.size(); ++piece) {
      std::string all;
      for (const std::string& shown : streamed(text, piece)) all += shown;
      EXPECT_EQ(all, text);
    }
  }
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\x80\x80\x80\x80"), "\x80\x80\x80\x80");  // nothing that could be completed
  EXPECT_EQ(stream.push("\xc3"), "");
  EXPECT_EQ(stream.finish(), "\xc3");
}

class Generate : public testing::TestWithParam<const char*> {
 protected:
  ThreadPool pool_{2};
  std::unique_ptr<Ops> ops_ = make_ops(GetParam(), pool_);
  std::unique_ptr<Gpt2> gpt2_ = make_model(*ops_, {.batch = 1, .context = 0});
  std::unique_ptr<Gpt2Inference> model_ =
      std::make_unique<Gpt2Inference>(load_inference_weights(model_source(*gpt2_), *ops_), InferenceOptions{}, *ops_);

  std::vector<int32_t> generated(const GenerateOptions& options, std::vector<int32_t> ids = {3}, int32_t end = -1) {
    const int64_t added = generate(*model_, options, end, ids, [](const GeneratedToken&) { return true; });
    ids.erase(ids.begin(), ids.end() - added);
    return ids;
  }
};

TEST_P(Generate, GreedyFollowsTheLogitsOfTheTokensInTheContext) {
  std::vector<int32_t> ids = {1, 2, 3};
  std::vector<int32_t> told;
  const GenerateOptions options = {.max_tokens = 30, .sampler = {.temperature = 0}};
  EXPECT_EQ(
      generate(*model_, options, -1, ids, [&](const GeneratedToken& token) { return told.push_back(token.id), true; }),
      30);
  ASSERT_EQ(ids.size(), 33u);
  EXPECT_EQ(told, std::vector<int32_t>(ids.begin() + 3, ids.end()));
  const int64_t vocab = model_->config().vocab;
  std::vector<float> logits(static_cast<size_t>(vocab));
  size_t begin = 0;  // the context is 12; when it is full the last 6 are kept
  for (size_t i = 3; i < ids.size(); ++i) {
    if (i - begin > 12) begin = i - 6;
    const auto t = static_cast<int64_t>(i - begin), last = t - 1;
    gpt2_->logits(std::span(ids).subspan(begin, i - begin), 1, t, std::span(&last, 1), logits);
    EXPECT_EQ(ids[i], std::max_element(logits.begin(), logits.end()) - logits.begin()) << "token " << i;
  }
  EXPECT_EQ(model_->cache().free_pages(), model_->cache().pages());  // given back
}

TEST_P(Generate, APromptLongerThanTheContextWorks) {
  std::vector<int32_t> prompt = random_ids(40, model_->config().vocab, 3);
  const GenerateOptions options = {.max_tokens = 5, .sampler = {.temperature = 0}};
  const std::vector<int32_t> tail(prompt.end() - model_->config().context, prompt.end());
  EXPECT_EQ(generated(options, prompt), generated(options, tail));
}

TEST_P(Generate, TheSameSeedGivesTheSameTokens) {
  const GenerateOptions five = {.max_tokens = 40, .sampler = {.seed = 5}},
                        six = {.max_tokens = 40, .sampler = {.seed = 6}};
  EXPECT_EQ(generated(five), generated(five));
  EXPECT_NE(generated(five), generated(six));
}

TEST_P(Generate, StopsAtTheEndOfText) {
  const GenerateOptions free = {.max_tokens = 40, .sampler = {.seed = 5}};
  const std::vector<int32_t> all = generated(free);
  ASSERT_EQ(all.size(), 40u);
  const int32_t end = all[7];
  const auto first = std::find(all.begin(), all.end(), end);
  EXPECT_EQ(generated(free, {3}, end), std::vector<int32_t>(all.begin(), first));  // and end is not appended
  GenerateOptions going_on = free;
  going_on.stop_at_end_of_text = false;
  EXPECT_EQ(generated(going_on, {3}, end), all);
}

TEST_P(Generate, StopsWhenTheCallerSaysSo) {
  std::vector<int32_t> ids = {3};
  int calls = 0;
  EXPECT_EQ(generate(*model_, {.max_tokens = 40}, -1, ids, [&](const GeneratedToken&) { return ++calls < 4; }), 4);
  EXPECT_EQ(ids.size(), 5u);
}

TEST_P(Generate, TellsLogprobsWhenAsked) {
  std::vector<int32_t> ids = {3};
  const auto count = [&](int64_t logprobs, size_t expected) {
    const GenerateOptions options = {.max_tokens = 3, .sampler = {.temperature = 0}, .logprobs = logprobs};
    generate(*model_, options, -1, ids, [&](const GeneratedToken& token) {
      EXPECT_EQ(token.logprobs.size(), expected);
      // Greedy: the chosen token is the likeliest too.
      for (size_t i = 0; i < std::min<size_t>(expected, 2); ++i) EXPECT_EQ(token.logprobs[i].id, token.id);
      return true;
    });
  };
  count(-1, 0);
  count(0, 1);
  count(4, 5);
}

TEST_P(Generate, NoTokensAreZeroTokens) { EXPECT_TRUE(generated({.max_tokens = 0}).empty()); }

TEST_P(Generate, RefusesAnEmptyPromptAndIdsOutOfRange) {
  expect_error([&] { generated({}, {}); }, {"prompt is empty"});
  expect_error([&] { generated({}, {0, 29}); }, {"29"});
  expect_error([&] { generated({}, {-1}); }, {"-1"});
}

INSTANTIATE_TEST_SUITE_P(Devices, Generate, testing::Values("ref", "cpu"), [](const auto& p) { return p.param; });

TEST(DefaultPrompt, IsTheEndOfTextElseANewlineElseTheFirstToken) {
  EXPECT_EQ(default_prompt(*make_gpt2_tokenizer()), std::vector<int32_t>{50256});
  EXPECT_EQ(default_prompt(*make_byte_tokenizer()), std::vector<int32_t>{'\n'});
  EXPECT_EQ(default_prompt(*make_char_tokenizer("\tb\na")), std::vector<int32_t>{1});
  EXPECT_EQ(default_prompt(*make_char_tokenizer("ab")), std::vector<int32_t>{0});
}

class LoadModel : public testing::Test {
 protected:
  TempDir dir_;
  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("cpu", pool_);
  const Gpt2Config config_ = {.context = 8, .vocab = 256, .layers = 1, .heads = 2, .channels = 8};

  fs::path save(std::shared_ptr<const Tokenizer> tokenizer) {
    fs::path folder = dir_ / "model";
    make_directories(folder);
    save_huggingface(folder, *make_model(*ops_, {}, config_));
    if (tokenizer != nullptr) tokenizer->save(folder);
    return folder;
  }
};

TEST_F(LoadModel, GivesWeightsAndTokenizer) {
  const fs::path folder = save(make_byte_tokenizer());
  const LoadedModel loaded = load_model(folder, *ops_);
  EXPECT_EQ(loaded.tokenizer->name(), "byte");
  EXPECT_EQ(loaded.model->config(), config_);
  const auto original = make_model(*ops_, {}, config_);
  const std::vector<int32_t> ids = {7, 200, 3};
  const int64_t last = 2;
  std::vector<float> logits(256), expected(256);
  const Gpt2Inference::Tokens tokens = {loaded.model->cache().add(), ids};
  loaded.model->forward(std::span(&tokens, 1), logits);
  original->logits(ids, 1, 3, std::span(&last, 1), expected);
  for (size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], expected[i], 1e-5f) << i;
  EXPECT_EQ(load_model(folder, *ops_, {.context = 3}).model->options().context, 3);
  expect_error([&] { load_model(folder, *ops_, {.context = 9}); }, {"9"});
}

TEST_F(LoadModel, ATokenizerMayBeNamed) {
  const fs::path folder = save(nullptr);
  expect_error([&] { load_model(folder, *ops_); }, {folder.string(), "--tokenizer"});
  EXPECT_EQ(load_model(folder, *ops_, {}, "byte").tokenizer->name(), "byte");
  const fs::path beside = dir_ / "tokenizer";
  make_directories(beside);
  make_char_tokenizer("abc")->save(beside);
  EXPECT_EQ(load_model(folder, *ops_, {}, beside.string()).tokenizer->vocab_size(), 3);
  EXPECT_THROW(load_model(folder, *ops_, {}, "bite"), UsageError);
}

TEST_F(LoadModel, RefusesATokenizerLargerThanTheModel) {
  const fs::path folder = save(make_gpt2_tokenizer());
  expect_error([&] { load_model(folder, *ops_); }, {folder.string(), "50257", "256"});
}

TEST_F(LoadModel, RefusesWhatIsNoModel) {
  expect_error([&] { load_model(dir_ / "none", *ops_); }, {(dir_ / "none").string()});
  expect_error([&] { load_model(dir_.path(), *ops_); }, {dir_.path().string()});
}

TEST_F(LoadModel, AnLlmcFileOfGpt2sVocabularyHasGpt2sTokenizer) {
  const Gpt2Config config = {.context = 4, .vocab = 50257, .layers = 1, .heads = 1, .channels = 2};
  save_llmc(dir_ / "model.bin", *make_model(*ops_, {}, config));
  EXPECT_EQ(load_model(dir_ / "model.bin", *ops_).tokenizer->name(), "gpt2");
}

}  // namespace
}  // namespace ink
