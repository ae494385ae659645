// The engine: who is in a batch changes nobody's tokens.
#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <numeric>
#include <thread>

#include "tests/serve_fixture.h"

namespace ink {
namespace {

// Keeps what it is told.
struct Heard : TokenListener {
  void prompt_token(const GeneratedToken& t) override { prompt.push_back(t); }
  bool token(const GeneratedToken& t) override {
    tokens.push_back(t);
    if (on_token) on_token();
    return static_cast<int64_t>(tokens.size()) != stop_after;
  }
  void finished(Finish why) override {
    if (on_finish) on_finish();
    done.set_value(why);
  }

  Finish wait() {
    const auto future = done.get_future().share();
    if (future.wait_for(std::chrono::seconds(60)) != std::future_status::ready) throw Error("never finished");
    return future.get();
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> result;
    for (const GeneratedToken& t : tokens) result.push_back(t.id);
    return result;
  }

  std::vector<GeneratedToken> prompt, tokens;
  int64_t stop_after = -1;
  std::function<void()> on_token, on_finish;
  std::promise<Finish> done;
};

struct Asked {
  SequenceRequest request;
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
};

Asked ask_for(std::vector<int32_t> prompt, int64_t max_tokens, SamplerOptions sampler = {}) {
  Asked asked;
  asked.request = {.prompt = std::move(prompt), .max_tokens = max_tokens, .sampler = sampler, .listener = asked.heard};
  return asked;
}

class ServeEngine : public Served {
 protected:
  uint64_t submit(const std::vector<Asked*>& asked) {
    std::vector<SequenceRequest> requests;
    for (const Asked* a : asked) requests.push_back(a->request);
    return engine_->submit(engine_->model(), std::move(requests));
  }
  uint64_t submit(Asked& asked) { return submit(std::vector<Asked*>{&asked}); }

  void expect_as_alone(Asked& asked) {
    EXPECT_EQ(asked.heard->wait(), Finish::length);
    EXPECT_EQ(asked.heard->ids(), alone(asked.request));
  }
};

TEST_F(ServeEngine, ManyTextsAreAsEachAlone) {
  options_ = {.running = 4, .recent = 3, .prompt_tokens = 5};
  start_engine();
  std::vector<Asked> all;
  for (int i = 0; i < 24; ++i) {
    const SamplerOptions sampler = {.temperature = i % 3 == 0 ? 0.0f : 1.2f,
                                    .top_k = i % 4 == 0 ? 20 : 0,
                                    .repetition_penalty = i % 5 == 0 ? 1.3f : 1.0f,
                                    .seed = static_cast<uint64_t>(i)};
    // Some begin alike.
    all.push_back(ask_for(random_ids(1 + 7 * (i % 9), 256, static_cast<uint32_t>(i / 3)), 3 + i, sampler));
    all.back().request.logprobs = i % 2 == 0 ? 2 : -1;
  }
  for (Asked& asked : all) submit(asked);
  for (Asked& asked : all) {
    expect_as_alone(asked);
    for (size_t t = 0; t < alone_tokens_.size(); ++t) {
      const auto &got = asked.heard->tokens[t].logprobs, &expected = alone_tokens_[t].logprobs;
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].id, expected[i].id);
        EXPECT_EQ(got[i].logprob, expected[i].logprob) << "to the last bit";
      }
    }
  }
}

TEST_F(ServeEngine, ARecentPromptIsNotComputedAgain) {
  start_engine();
  Asked first = ask_for(random_ids(50, 256, 1), 8), again = ask_for(first.request.prompt, 8);
  submit(first);
  first.heard->wait();
  submit(again);
  expect_as_alone(again);
  EXPECT_EQ(engine_->stats().reused_tokens, 49);
  EXPECT_EQ(engine_->stats().prompt_tokens, 51);

  Asked longer = ask_for(first.request.prompt, 5);  // what was generated is there too
  const std::vector<int32_t> added = first.heard->ids();
  longer.request.prompt.insert(longer.request.prompt.end(), added.begin(), added.end());
  longer.request.prompt.push_back(3);
  submit(longer);
  expect_as_alone(longer);
  EXPECT_EQ(engine_->stats().reused_tokens, 49 + 57);

  Asked other = ask_for(random_ids(50, 256, 2), 5);
  std::copy_n(first.request.prompt.begin(), 20, other.request.prompt.begin());
  submit(other);
  expect_as_alone(other);
  EXPECT_EQ(engine_->stats().reused_tokens, 49 + 57 + 20);
}

TEST_F(ServeEngine, APromptOfManyAtATimeIsComputedOnce) {
  start_engine();
  std::vector<Asked> all;
  for (uint64_t i = 0; i < 4; ++i) all.push_back(ask_for(random_ids(80, 256, 1), 10, {.seed = i}));
  submit({&all[0], &all[1], &all[2], &all[3]});
  for (Asked& asked : all) expect_as_alone(asked);
  EXPECT_GE(engine_->stats().reused_tokens, 3 * (80 - 32));
  EXPECT_NE(all[0].heard->ids(), all[1].heard->ids());
}

TEST_F(ServeEngine, NothingIsKeptWhereNothingShallBe) {
  options_.recent = 0;
  start_engine();
  for (int i = 0; i < 2; ++i) {
    Asked asked = ask_for(random_ids(50, 256, 1), 8);
    submit(asked);
    expect_as_alone(asked);
  }
  EXPECT_EQ(engine_->stats().reused_tokens, 0);
}

TEST_F(ServeEngine, PagesAreFreedForWhoComesNext) {
  options_ = {.running = 2, .recent = 8};  // six pages in all
  start_engine();
  std::vector<Asked> all;
  for (uint32_t i = 0; i < 12; ++i) all.push_back(ask_for(random_ids(33 + 4 * (i % 7), 256, i % 5), 30));
  for (Asked& asked : all) submit(asked);
  for (Asked& asked : all) expect_as_alone(asked);
  EXPECT_EQ(engine_->stats().pages, 6);
}

TEST_F(ServeEngine, TheListenerEndsASequence) {
  start_engine();
  Asked asked = ask_for({1, 2}, 20);
  asked.heard->stop_after = 5;
  submit(asked);
  EXPECT_EQ(asked.heard->wait(), Finish::stop);
  EXPECT_EQ(asked.heard->tokens.size(), 5u);
}

TEST_F(ServeEngine, NoTokenMayBeWanted) {
  start_engine();
  Asked none = ask_for({1, 2, 3}, 0);
  none.request.logprobs = 1;
  none.request.prompt_logprobs = true;
  submit(none);
  EXPECT_EQ(none.heard->wait(), Finish::length);
  EXPECT_TRUE(none.heard->tokens.empty());
  ASSERT_EQ(none.heard->prompt.size(), 2u);

  // The same as the logprob that a token has when it is drawn.
  for (size_t i = 1; i < 3; ++i) {
    SequenceRequest request = {.prompt = std::vector<int32_t>(none.request.prompt.begin(),
                                                              none.request.prompt.begin() + static_cast<int64_t>(i)),
                               .max_tokens = 1,
                               .logprobs = 0};
    request.sampler.logit_bias[none.request.prompt[i]] = 1e6f;
    ASSERT_EQ(alone(request), std::vector<int32_t>{none.request.prompt[i]});
    EXPECT_EQ(none.heard->prompt[i - 1].logprobs[0].logprob, alone_tokens_[0].logprobs[0].logprob);
  }
}

// Holds up the engine in a listener until it is let go.
struct Gate {
  std::promise<void> reached, open;
  std::once_flag once;
  void hold(Asked& asked) {
    asked.heard->on_token = [this] {
      std::call_once(once, [this] {
        reached.set_value();
        open.get_future().wait();
      });
    };
  }
};

TEST_F(ServeEngine, ACancelledSequenceFreesItsPlace) {
  options_.running = 1;
  start_engine();
  Gate gate;
  Asked running = ask_for({1}, 90), waiting = ask_for({2}, 90), next = ask_for({3}, 5);
  gate.hold(running);
  const uint64_t first = submit(running), second = submit(waiting);
  submit(next);
  gate.reached.get_future().wait();
  engine_->cancel(first);
  engine_->cancel(second);
  gate.open.set_value();
  EXPECT_EQ(running.heard->wait(), Finish::cancelled);
  EXPECT_LT(running.heard->tokens.size(), 3u);
  EXPECT_EQ(waiting.heard->wait(), Finish::cancelled);
  expect_as_alone(next);
}

TEST_F(ServeEngine, TheQueueIsBounded) {
  options_ = {.running = 1, .queue = 2};
  start_engine();
  Gate gate;
  Asked running = ask_for({1}, 3), a = ask_for({2}, 3), b = ask_for({3}, 3), c = ask_for({4}, 3);
  gate.hold(running);
  submit(running);
  gate.reached.get_future().wait();
  submit(a);
  EXPECT_THROW(submit({&b, &c}), QueueFull);
  submit(b);
  EXPECT_THROW(submit(c), QueueFull);
  gate.open.set_value();
  for (Asked* asked : {&running, &a, &b}) expect_as_alone(*asked);
}

TEST_F(ServeEngine, ACallWithManySequencesTakesTurnsWithOthers) {
  options_.running = 1;
  start_engine();
  Gate gate;
  std::string order;
  Asked first = ask_for({1}, 2), a1 = ask_for({2}, 2), a2 = ask_for({3}, 2), a3 = ask_for({4}, 2), b = ask_for({5}, 2);
  gate.hold(first);
  for (const auto& [asked, name] : {std::pair(&a1, '1'), {&a2, '2'}, {&a3, '3'}, {&b, 'b'}}) {
    asked->heard->on_finish = [&order, name = name] { order += name; };
  }
  submit(first);
  gate.reached.get_future().wait();
  submit({&a1, &a2, &a3});
  submit(b);
  gate.open.set_value();
  for (Asked* asked : {&first, &a1, &a2, &a3, &b}) expect_as_alone(*asked);
  EXPECT_EQ(order, "1b23");
}

TEST_F(ServeEngine, WhoWaitsForAPromptLikeTheirsHoldsUpNobody) {
  options_ = {.running = 4, .prompt_tokens = 4};
  start_engine();
  Gate gate;
  Asked first = ask_for({1}, 60), a = ask_for(random_ids(80, 256, 1), 2), b = ask_for(a.request.prompt, 2),
        other = ask_for({5}, 2);
  gate.hold(first);
  size_t steps = 0;
  other.heard->on_finish = [&] { steps = first.heard->tokens.size(); };
  submit(first);
  gate.reached.get_future().wait();
  submit({&a, &b});
  submit(other);
  gate.open.set_value();
  for (Asked* asked : {&first, &a, &b, &other}) expect_as_alone(*asked);
  EXPECT_LE(steps, 6u) << "a's prompt takes 20";
  EXPECT_GE(engine_->stats().reused_tokens, 80 - 32);
}

TEST_F(ServeEngine, APromptThatIsRatedIsNotWaitedFor) {
  start_engine();
  Gate gate;
  Asked first = ask_for({1}, 90), rated = ask_for(random_ids(80, 256, 1), 1), same = ask_for(rated.request.prompt, 2);
  rated.request.logprobs = 0;
  rated.request.prompt_logprobs = true;
  size_t before = 0;
  same.heard->on_finish = [&] { before = rated.heard->prompt.size(); };
  gate.hold(first);
  submit(first);
  gate.reached.get_future().wait();
  submit(rated);
  submit(same);
  gate.open.set_value();
  for (Asked* asked : {&first, &rated, &same}) expect_as_alone(*asked);
  EXPECT_LT(before, 20u) << "a token of it takes a step";
}

TEST_F(ServeEngine, AnotherModelTakesOverBetweenTexts) {
  start_engine();
  Gate gate;
  Asked before = ask_for({1, 2}, 20), after = ask_for({1, 2}, 20);
  gate.hold(before);
  submit(before);
  gate.reached.get_future().wait();
  const std::vector<int32_t> old = alone(before.request);
  alone_.reset();
  save_served(dir_ / "other", 8);
  fs::rename(folder(), dir_ / "gone");  // the old one's file stays mapped
  fs::rename(dir_ / "other", folder());
  std::promise<std::string> reloaded;
  engine_->reload([&](const std::string& error) { reloaded.set_value(error); });
  gate.open.set_value();
  EXPECT_EQ(reloaded.get_future().get(), "");
  submit(after);
  EXPECT_EQ(before.heard->wait(), Finish::length);
  EXPECT_EQ(before.heard->ids(), old);
  expect_as_alone(after);
  EXPECT_NE(after.heard->ids(), old);
  EXPECT_EQ(engine_->stats().reloads, 1);
}

TEST_F(ServeEngine, AModelThatCannotBeLoadedChangesNothing) {
  start_engine();
  fs::rename(folder(), dir_ / "gone");
  std::promise<std::string> reloaded;
  engine_->reload([&](const std::string& error) { reloaded.set_value(error); });
  EXPECT_NE(reloaded.get_future().get().find("model"), std::string::npos);
  fs::rename(dir_ / "gone", folder());
  Asked asked = ask_for({1, 2}, 5);
  submit(asked);
  expect_as_alone(asked);
  EXPECT_EQ(engine_->stats().reloads, 0);
}

TEST_F(ServeEngine, AnErrorOfTheFirstLoadIsThrown) {
  expect_error([&] { Engine(options_, [&] { return load_served(dir_ / "none", options_); }); }, {"none"});
}

TEST_F(ServeEngine, SamplingOptionsThatCannotBeAreRefused) {
  start_engine();
  Asked asked = ask_for({1}, 5, {.temperature = -1});
  expect_error([&] { submit(asked); }, {"temperature"});
}

TEST_F(ServeEngine, ItsEndCancelsEverything) {
  options_.running = 1;
  start_engine();
  Gate gate;
  Asked running = ask_for({1}, 90), waiting = ask_for({2}, 90);
  gate.hold(running);
  // So slow that it cannot end by itself first.
  running.heard->on_token = [hold = running.heard->on_token] {
    hold();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  submit(running);
  submit(waiting);
  gate.reached.get_future().wait();
  std::thread end([&] { engine_.reset(); });
  gate.open.set_value();
  end.join();
  EXPECT_EQ(running.heard->wait(), Finish::cancelled);
  EXPECT_EQ(waiting.heard->wait(), Finish::cancelled);
}

}  // namespace
}  // namespace ink
