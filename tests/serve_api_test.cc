// The HTTP interface: what it answers, streamed and whole.
#include <fmt/ranges.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "ink/serve/completion.h"
#include "tests/serve_fixture.h"

namespace ink {
namespace {

using nlohmann::json;

// The events of a stream; the last one must be [DONE].
std::vector<json> events_of(const std::string& body) {
  std::vector<json> events;
  size_t at = 0;
  while (true) {
    const size_t end = body.find("\n\n", at);
    if (end == std::string::npos || body.compare(at, 6, "data: ") != 0) {
      ADD_FAILURE() << "no events: " << body;
      return events;
    }
    const std::string data = body.substr(at + 6, end - at - 6);
    if (data == "[DONE]") {
      EXPECT_EQ(end + 2, body.size());
      return events;
    }
    events.push_back(json::parse(data));
    at = end + 2;
  }
}

class ServeApi : public Served {
 protected:
  json whole(const std::string& body) {
    const Reply reply = complete(body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.headers.at("content-type"), "application/json");
    return json::parse(reply.body);
  }
  std::vector<json> stream(const std::string& body) {
    const Reply reply = complete(body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.headers.at("content-type"), "text/event-stream");
    return events_of(reply.body);
  }
  // What generate() makes of a text, as ids.
  std::vector<int32_t> generated(const std::string& prompt, int64_t max_tokens, const SamplerOptions& sampler) {
    return alone({.prompt = {prompt.begin(), prompt.end()}, .max_tokens = max_tokens, .sampler = sampler});
  }
};

TEST_F(ServeApi, CompletesAsSampleDoes) {
  start();
  const json answer = whole(R"({"model": "tiny", "prompt": "abc", "max_tokens": 12, "seed": 5, "logprobs": 0,
                                "return_token_ids": true})");
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("cmpl-"));
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_GT(answer["created"], 1700000000);
  ASSERT_EQ(answer["choices"].size(), 1u);
  const json& choice = answer["choices"][0];
  EXPECT_EQ(choice["index"], 0);
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["logprobs"]["token_ids"], generated("abc", 12, {.seed = 5}));
  EXPECT_EQ(answer["usage"], (json{{"prompt_tokens", 3}, {"completion_tokens", 12}, {"total_tokens", 15}}));
}

TEST_F(ServeApi, ChoicesAreOfEachPromptWithSeedsCountingUp) {
  start();
  const json answer = whole(R"({"prompt": ["ab", [99, 100]], "n": 2, "max_tokens": 9, "seed": 7, "logprobs": 1,
                                "return_token_ids": true})");
  ASSERT_EQ(answer["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answer["choices"][i]["index"], i);
    EXPECT_EQ(answer["choices"][i]["logprobs"]["token_ids"], generated(i < 2 ? "ab" : "cd", 9, {.seed = 7 + i % 2}));
  }
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 36);
}

TEST_F(ServeApi, AStreamIsTheWholeInPieces) {
  start();
  for (const char* options :
       {R"("seed": 1)", R"("seed": 2, "logprobs": 2, "return_token_ids": true)", R"("seed": 3, "echo": true)",
        R"("seed": 4, "echo": true, "logprobs": 1)", R"("seed": 5, "stop": ["x", "q", "\ufffd"], "n": 2)"}) {
    SCOPED_TRACE(options);
    const std::string body = fmt::format(R"({{"prompt": "hé!", "max_tokens": 25, {})", options);
    const json expected = whole(body + "}");
    const std::vector<json> events = stream(body + R"(, "stream": true, "stream_options": {"include_usage": true}})");
    json choices = expected["choices"];
    for (json& choice : choices) {
      choice["text"] = "";
      choice["finish_reason"] = nullptr;
      if (!choice["logprobs"].is_null()) {
        for (auto& [name, list] : choice["logprobs"].items()) list = json::array();
      }
    }
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      EXPECT_EQ(events[i]["object"], "text_completion");
      EXPECT_TRUE(events[i]["usage"].is_null());
      ASSERT_EQ(events[i]["choices"].size(), 1u);
      const json& piece = events[i]["choices"][0];
      json& choice = choices[piece["index"].get<size_t>()];
      EXPECT_TRUE(choice["finish_reason"].is_null()) << "nothing comes after the end";
      choice["text"] = choice["text"].get<std::string>() + piece["text"].get<std::string>();
      choice["finish_reason"] = piece["finish_reason"];
      if (piece["logprobs"].is_null()) continue;
      for (const auto& [name, list] : piece["logprobs"].items()) {
        for (const json& value : list) choice["logprobs"][name].push_back(value);
      }
    }
    EXPECT_EQ(choices, expected["choices"]);
    EXPECT_EQ(events.back()["usage"], expected["usage"]);
    EXPECT_TRUE(events.back()["choices"].empty());
  }
}

TEST_F(ServeApi, WithoutUsageNoEventHasIt) {
  start();
  for (const json& event : stream(R"({"prompt": "a", "max_tokens": 4, "stream": true})")) {
    EXPECT_FALSE(event.contains("usage"));
    EXPECT_EQ(event["choices"].size(), 1u);
  }
}

TEST_F(ServeApi, StopsBeforeAStopText) {
  start();
  const std::string forced = R"({"prompt": "a", "max_tokens": 30, "temperature": 0, "logit_bias": {"120": 100})";
  EXPECT_EQ(whole(forced + "}")["choices"][0]["text"], std::string(30, 'x'));
  const json stopped = whole(forced + R"(, "stop": ["y", "xxxx"], "logprobs": 0})");
  EXPECT_EQ(stopped["choices"][0]["text"], "");
  EXPECT_EQ(stopped["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(stopped["choices"][0]["logprobs"]["tokens"], json::array());
  EXPECT_EQ(stopped["usage"]["completion_tokens"], 4);
  const json held = whole(R"({"prompt": "a", "max_tokens": 3, "temperature": 0, "logit_bias": {"120": 100},
                              "stop": "xxxx", "logprobs": 0})");
  EXPECT_EQ(held["choices"][0]["text"], "xxx");
  EXPECT_EQ(held["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(held["choices"][0]["logprobs"]["tokens"].size(), 3u);
}

TEST_F(ServeApi, LogprobsNameTokensAndTheirPlaces) {
  start();
  const json answer = whole(R"({"prompt": "hé", "echo": true, "max_tokens": 2, "temperature": 0, "logprobs": 2,
                                "logit_bias": {"33": 100}, "return_token_ids": true})");
  const json& choice = answer["choices"][0];
  EXPECT_EQ(choice["text"], "hé!!");
  const json& l = choice["logprobs"];
  EXPECT_EQ(l["tokens"], (json{"h", "bytes:\\xc3", "bytes:\\xa9", "!", "!"}));
  EXPECT_EQ(l["text_offset"], (json{0, 1, 2, 2, 3}));
  EXPECT_EQ(l["token_ids"], (json{'h', 0xc3, 0xa9, '!', '!'}));
  EXPECT_TRUE(l["token_logprobs"][0].is_null());
  EXPECT_TRUE(l["top_logprobs"][0].is_null());
  EXPECT_TRUE(l["alternatives"][0].is_null());
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_LT(l["token_logprobs"][i], 0);
    EXPECT_EQ(l["alternatives"][i].size(), 2u);
    EXPECT_GE(l["top_logprobs"][i].size(), 2u);
    EXPECT_EQ(l["top_logprobs"][i][l["tokens"][i].get<std::string>()], l["token_logprobs"][i]);
    EXPECT_GE(l["alternatives"][i][0]["logprob"], l["alternatives"][i][1]["logprob"]);
  }
  EXPECT_TRUE(whole(R"({"prompt": "a"})")["choices"][0]["logprobs"].is_null());
  EXPECT_FALSE(whole(R"({"prompt": "a", "logprobs": 1})")["choices"][0]["logprobs"].contains("token_ids"));
}

TEST_F(ServeApi, AnEchoAloneScoresAText) {
  start();
  const json answer = whole(R"({"prompt": "abcd", "echo": true, "max_tokens": 0, "logprobs": 0})");
  EXPECT_EQ(answer["choices"][0]["text"], "abcd");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["choices"][0]["logprobs"]["token_logprobs"].size(), 4u);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
}

TEST_F(ServeApi, SamplingOptionsAreHeard) {
  start();
  const std::string base = R"({"prompt": "ab", "max_tokens": 30, "seed": 3, )";
  const auto text = [&](const std::string& options) { return whole(base + options + "}")["choices"][0]["text"]; };
  const json greedy = text(R"("temperature": 0)");
  EXPECT_EQ(text(R"("top_k": 1)"), greedy);
  EXPECT_EQ(text(R"("top_p": 0)"), greedy);
  EXPECT_EQ(text(R"("min_p": 1)"), greedy);
  EXPECT_NE(text(R"("temperature": 0, "repetition_penalty": 100)"), greedy);
  EXPECT_NE(text(R"("temperature": 5)"), greedy);
  // A bias that the frequency penalty outweighs after some tokens, and the presence penalty at once.
  const auto biased = [&](const std::string& options) {
    return text(R"("temperature": 0, "logit_bias": {"120": 100}, )" + options).get<std::string>();
  };
  EXPECT_EQ(biased(R"("frequency_penalty": 0)"), std::string(30, 'x'));
  EXPECT_EQ(biased(R"("presence_penalty": 2)"), std::string(30, 'x')) << "2 of 100";
}

TEST_F(ServeApi, TextsThatAreNoUtf8AreReplaced) {
  start();
  const std::string forced = R"({"prompt": "a", "max_tokens": 4, "temperature": 0, "logit_bias": {"255": 100})";
  EXPECT_EQ(whole(forced + "}")["choices"][0]["text"], "\ufffd\ufffd\ufffd\ufffd");
  std::string all;
  for (const json& event : stream(forced + R"(, "stream": true})")) all += event["choices"][0]["text"];
  EXPECT_EQ(all, "\ufffd\ufffd\ufffd\ufffd");
  const std::string half = R"({"prompt": "a", "max_tokens": 3, "temperature": 0, "logit_bias": {"195": 100})";
  EXPECT_EQ(whole(half + "}")["choices"][0]["text"], "\ufffd\ufffd\ufffd");
}

TEST_F(ServeApi, OffsetsCountTheCharactersThatAreShown) {
  start();
  const json choice = whole(R"({"prompt": [128, 129, 97], "echo": true, "max_tokens": 3, "temperature": 0,
                                "logprobs": 0, "logit_bias": {"255": 100}})")["choices"][0];
  EXPECT_EQ(choice["text"], "\ufffd\ufffda\ufffd\ufffd\ufffd");
  EXPECT_EQ(choice["logprobs"]["text_offset"], (json{0, 1, 2, 3, 4, 5}));
}

TEST_F(ServeApi, ACharacterMayBeginInThePromptThatIsEchoed) {
  start();
  const std::string half = R"({"prompt": [97, 195], "echo": true, "max_tokens": 2, "temperature": 0,
                               "logit_bias": {"169": 100})";
  for (const char* more : {"}", R"(, "logprobs": 0})"}) {
    EXPECT_EQ(whole(half + more)["choices"][0]["text"], "aé\ufffd");
  }
  EXPECT_EQ(whole(R"({"prompt": [97, 195], "echo": true, "max_tokens": 0})")["choices"][0]["text"], "a\ufffd");
}

TEST_F(ServeApi, TheOtherRoutes) {
  start();
  const json models = json::parse(ask(port(), "GET", "/v1/models").body);
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["object"], "model");
  EXPECT_EQ(models["data"][0]["context"], 96);
  EXPECT_EQ(json::parse(ask(port(), "GET", "/v1/models/tiny").body), models["data"][0]);
  EXPECT_EQ(ask(port(), "GET", "/v1/models/other").status, 404);
  EXPECT_EQ(json::parse(ask(port(), "POST", "/tokenize", R"({"text": "aé"})").body),
            (json{{"tokens", {97, 195, 169}}, {"texts", {"a", "bytes:\\xc3", "bytes:\\xa9"}}, {"count", 3}}));
  EXPECT_EQ(json::parse(ask(port(), "POST", "/tokenize", R"({"text": ""})").body)["count"], 0);
  EXPECT_EQ(json::parse(ask(port(), "POST", "/detokenize", R"({"tokens": [97, 195, 169]})").body)["text"], "aé");
  EXPECT_EQ(json::parse(ask(port(), "POST", "/detokenize", R"({"tokens": [195]})").body)["text"], "\ufffd");
  EXPECT_EQ(json::parse(ask(port(), "GET", "/healthz").body)["status"], "ok");
  EXPECT_EQ(ask(port(), "GET", "/v1/completions").status, 405);
}

TEST_F(ServeApi, MetricsCount) {
  start();
  whole(R"({"prompt": "abc", "max_tokens": 5})");
  const Reply reply = ask(port(), "GET", "/metrics");
  EXPECT_TRUE(reply.headers.at("content-type").starts_with("text/plain; version=0.0.4"));
  for (const char* line :
       {"ink_http_answers_total{status=\"200\"} 1\n", "ink_sequences_total 1\n", "ink_prompt_tokens_total 3\n",
        "ink_generated_tokens_total 5\n", "ink_sequences_waiting 0\n", "ink_cache_pages 48\n",
        "ink_first_token_seconds_count 1\n", "ink_token_seconds_count 4\n"}) {
    EXPECT_NE(reply.body.find(line), std::string::npos) << line << "in\n" << reply.body;
  }
}

TEST_F(ServeApi, AFullQueueSaysWhenToComeBack) {
  options_ = {.running = 1, .queue = 2};
  start();
  const Reply reply = complete(R"({"prompt": "a", "n": 3})");
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.headers.at("retry-after"), "1");
  EXPECT_EQ(json::parse(reply.body)["error"]["code"], "queue_full");
  EXPECT_EQ(complete(R"({"prompt": "a", "n": 2})").status, 200);
}

// The engine with nothing left to do.
void wait_until_idle(const Engine& engine) {
  for (int i = 0; i < 20000; ++i) {
    const EngineStats stats = engine.stats();
    if (stats.running == 0 && stats.waiting == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAIL() << "still running";
}

TEST_F(ServeApi, ClientsThatGoFreeTheirPlaces) {
  options_ = {.running = 1, .queue = 100};
  start();
  for (const char* extra : {"", R"(, "stream": true)"}) {
    for (int i = 0; i < 5; ++i) {
      const std::string body = fmt::format(R"({{"prompt": "{}", "n": 8, "max_tokens": 90{}}})", i, extra);
      Connected connection(port());
      connection.send(
          fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      "Content-Length: {}\r\n\r\n{}",
                      body.size(), body));
      if (i % 2 == 1 && *extra != '\0') connection.read_until("data:");
    }
  }
  const json fine = whole(R"({"prompt": "abc", "max_tokens": 5, "seed": 1, "logprobs": 0, "return_token_ids": true})");
  EXPECT_EQ(fine["choices"][0]["logprobs"]["token_ids"], generated("abc", 5, {.seed = 1}));
  wait_until_idle(*engine_);
}

TEST_F(ServeApi, ManyClientsAtATimeGetWhatEachWouldAlone) {
  options_.running = 8;
  start();
  std::vector<json> expected, got(24);
  const auto body = [](size_t i) {
    return fmt::format(R"({{"prompt": "{}", "max_tokens": {}, "seed": {}, "n": {}}})",
                       std::string(1 + i % 5 * 9, static_cast<char>('a' + i % 3)), 5 + i, i, 1 + i % 2);
  };
  for (size_t i = 0; i < got.size(); ++i) expected.push_back(whole(body(i))["choices"]);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < got.size(); ++i) {
    clients.emplace_back([&, i] { got[i] = json::parse(complete(body(i)).body)["choices"]; });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], expected[i]) << i;
}

TEST_F(ServeApi, ASlowReaderHoldsUpNobody) {
  start();
  const std::string body = R"({"prompt": "a", "n": 16, "max_tokens": 90, "logprobs": 20, "stream": true})";
  Connected slow(port());
  slow.send(
      fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "Connection: close\r\nContent-Length: {}\r\n\r\n{}",
                  body.size(), body));
  EXPECT_EQ(whole(R"({"prompt": "abc", "max_tokens": 5})")["usage"]["completion_tokens"], 5);
  wait_until_idle(*engine_);
  EXPECT_EQ(events_of(parse_reply(slow.read_all()).body).back()["choices"][0]["finish_reason"], "length");
}

TEST_F(ServeApi, TheEnginesEndIsToldToClients) {
  start();
  const auto model = engine_->model();
  CompletionRequest request =
      parse_completion(R"({"max_tokens": 90})", *model->loaded.tokenizer, {.model = "tiny", .context = 96});
  Completion completion(*engine_, model, request);
  engine_->cancel(1);
  try {
    while (!completion.finished()) completion.wait(std::chrono::seconds(1));
    GTEST_SKIP() << "it was finished first";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status(), 503);
  }
}

TEST_F(ServeApi, WantsTheKey) {
  http_.api_key = "sesame";
  start();
  EXPECT_EQ(complete("{}").status, 401);
  EXPECT_EQ(ask(port(), "GET", "/v1/models").status, 401);
  EXPECT_EQ(ask(port(), "GET", "/metrics").status, 401);
  EXPECT_EQ(ask(port(), "GET", "/healthz").status, 200);
  EXPECT_EQ(complete("{}", {"Authorization: Bearer sesame"}).status, 200);
}

}  // namespace
}  // namespace ink
