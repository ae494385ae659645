// Every field of a request, and more than a hundred requests that are refused with a clear answer.
#include <nlohmann/json.hpp>
#include <set>

#include "ink/serve/completion_request.h"
#include "tests/serve_fixture.h"

namespace ink {
namespace {

using nlohmann::json;

const CompletionLimits kLimits = {.model = "tiny", .context = 96, .choices = 64, .seed = 99};

CompletionRequest parse(const std::string& body) {
  static const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  return parse_completion(body, *tokenizer, kLimits);
}

TEST(ServeFields, HaveDefaults) {
  const CompletionRequest r = parse("{}");
  EXPECT_EQ(r.prompts, (std::vector<std::vector<int32_t>>{{'\n'}}));
  EXPECT_EQ(r.n, 1);
  EXPECT_EQ(r.max_tokens, std::vector<int64_t>{16});
  EXPECT_EQ(r.sampler.temperature, 1);
  EXPECT_EQ(r.sampler.top_k, 0);
  EXPECT_EQ(r.sampler.top_p, 1);
  EXPECT_EQ(r.sampler.min_p, 0);
  EXPECT_EQ(r.sampler.repetition_penalty, 1);
  EXPECT_EQ(r.sampler.presence_penalty, 0);
  EXPECT_EQ(r.sampler.frequency_penalty, 0);
  EXPECT_TRUE(r.sampler.logit_bias.empty());
  EXPECT_EQ(r.sampler.seed, 99u);
  EXPECT_TRUE(r.stops.empty());
  EXPECT_EQ(r.logprobs, -1);
  EXPECT_FALSE(r.echo || r.stream || r.ignore_eos || r.include_usage || r.return_token_ids);
}

TEST(ServeFields, AreNarrowerThanWhatASamplerTakes) {
  for (const char* name : {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
                           "frequency_penalty", "logit_bias"}) {
    int taken = 0;
    for (const char* value : {"-1e300", "-100", "-2", "-1", "-0.0", "0", "1e-300", "1e-10", "0.01", "0.5", "1", "2",
                              "100", "2147483647", "1e300", R"({"0": 100, "1": -100})"}) {
      SCOPED_TRACE(fmt::format("{}: {}", name, value));
      try {
        const CompletionRequest r = parse(fmt::format(R"({{"{}": {}}})", name, value));
        ++taken;
        EXPECT_NO_THROW(Sampler(r.sampler, 256)) << "its errors speak of the command line";
      } catch (const HttpError& error) {
        EXPECT_EQ(error.param(), name);
      }
    }
    EXPECT_GE(taken, 1) << name;
  }
}

TEST(ServeFields, AreAllRead) {
  const CompletionRequest r = parse(R"({"model": "tiny", "prompt": "ab", "n": 2, "best_of": 2, "max_tokens": 7,
    "temperature": 0.5, "top_k": 4, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": -0.5,
    "frequency_penalty": 2, "logit_bias": {"65": 3, "66": -100}, "seed": 18446744073709551615, "stop": ["x", "yz"],
    "logprobs": 3, "echo": true, "suffix": null, "stream": true, "stream_options": {"include_usage": true},
    "ignore_eos": true, "return_token_ids": true, "user": "somebody"})");
  EXPECT_EQ(r.prompts, (std::vector<std::vector<int32_t>>{{'a', 'b'}}));
  EXPECT_EQ(r.n, 2);
  EXPECT_EQ(r.max_tokens, std::vector<int64_t>{7});
  EXPECT_EQ(r.sampler.temperature, 0.5f);
  EXPECT_EQ(r.sampler.top_k, 4);
  EXPECT_EQ(r.sampler.top_p, 0.9f);
  EXPECT_EQ(r.sampler.min_p, 0.1f);
  EXPECT_EQ(r.sampler.repetition_penalty, 1.2f);
  EXPECT_EQ(r.sampler.presence_penalty, -0.5f);
  EXPECT_EQ(r.sampler.frequency_penalty, 2);
  EXPECT_EQ(r.sampler.logit_bias, (std::map<int32_t, float>{{65, 3.0f}, {66, -100.0f}}));
  EXPECT_EQ(r.sampler.seed, 18446744073709551615u);
  EXPECT_EQ(r.stops, (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(r.logprobs, 3);
  EXPECT_TRUE(r.echo && r.stream && r.ignore_eos && r.include_usage && r.return_token_ids);
}

TEST(ServeFields, TakePromptsOfEveryForm) {
  using Prompts = std::vector<std::vector<int32_t>>;
  EXPECT_EQ(parse(R"({"prompt": ["a", "bc", ""]})").prompts, (Prompts{{'a'}, {'b', 'c'}, {'\n'}}));
  EXPECT_EQ(parse(R"({"prompt": [1, 2, 255]})").prompts, (Prompts{{1, 2, 255}}));
  EXPECT_EQ(parse(R"({"prompt": [[1], [2, 3], "d"]})").prompts, (Prompts{{1}, {2, 3}, {'d'}}));
  EXPECT_EQ(parse(R"({"prompt": ""})").prompts, (Prompts{{'\n'}}));
  EXPECT_EQ(parse(R"({"prompt": null})").prompts, (Prompts{{'\n'}}));
  EXPECT_EQ(parse(R"({"prompt": "\u00e9\u0000"})").prompts, (Prompts{{0xc3, 0xa9, 0}}));
  EXPECT_EQ(parse(R"({"stop": "x"})").stops, std::vector<std::string>{"x"});
  EXPECT_EQ(parse(R"({"top_k": -1})").sampler.top_k, 0);
  EXPECT_GT(parse(R"({"top_p": 0})").sampler.top_p, 0);
  EXPECT_EQ(parse(R"({"seed": -1})").sampler.seed, ~uint64_t{0});
  EXPECT_EQ(parse(R"({"max_tokens": 0})").max_tokens, std::vector<int64_t>{0});
  EXPECT_EQ(parse(R"({"prompt": ")" + std::string(90, 'a') + R"("})").max_tokens, std::vector<int64_t>{6});
  EXPECT_EQ(parse(R"({"prompt": ")" + std::string(90, 'a') + R"(", "max_tokens": 6})").max_tokens[0], 6);
}

TEST(ServeFields, AnAnswersLogprobsAreLimited) {
  CompletionLimits wide = kLimits;
  wide.context = 1 << 20;
  const auto tokenizer = make_byte_tokenizer();
  const auto ask_for = [&](int64_t tokens) {
    return parse_completion(
        fmt::format(R"({{"n": 64, "prompt": "abcd", "echo": true, "logprobs": 1, "max_tokens": {}}})", tokens),
        *tokenizer, wide);
  };
  EXPECT_EQ(ask_for(2044).logprobs, 1);
  try {
    ask_for(2045);
    FAIL() << "no error";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.param(), "logprobs");
  }
}

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

struct Bad {
  std::string body;
  std::string param;  // the field that is to blame
  int status = 400;
};

std::vector<Bad> bad_completions() {
  std::vector<Bad> all = {
      // No JSON object.
      {"", ""},
      {" ", ""},
      {"null", ""},
      {"[]", ""},
      {"1", ""},
      {"\"\"", ""},
      {"{", ""},
      {"}", ""},
      {"{]", ""},
      {"{\"a\"}", ""},
      {"{\"a\":}", ""},
      {"{'prompt': 'a'}", ""},
      {"{\"prompt\": \"a\",}", ""},
      {"{} {}", ""},
      {"{}x", ""},
      {"{\"prompt\": NaN}", ""},
      {"{\"temperature\": Infinity}", ""},
      {"{\"temperature\": 1e999}", ""},
      {"{\"temperature\": -1e999}", ""},
      {"{\"max_tokens\": 01}", ""},
      {"{\"max_tokens\": +1}", ""},
      {"{\"max_tokens\": 0x10}", ""},
      {"{\"prompt\": \"\xff\xfe\"}", ""},
      {"{\"prompt\": \"\xc3\"}", ""},
      {"{\"prompt\": \"\xed\xa0\x80\"}", ""},
      {"{\"prompt\": \"\\ud800\"}", ""},
      {"{\"prompt\": \"\\x\"}", ""},
      {"{\"prompt\": \"a\nb\"}", ""},
      {std::string("{\"prompt\": \"a\0b\"}", 17), ""},
      {std::string(1, '\0'), ""},
      {"\xef\xbb\xbf", ""},
      {"{\"prompt\": \"a\", \"prompt\": \"b\"}", ""},
      {"{\"n\": 1, \"n\": 1}", ""},
      {repeated("[", 100000), ""},
      {repeated("{\"a\":", 100000), ""},
      {"{\"prompt\": " + repeated("[", 1000) + repeated("]", 1000) + "}", ""},
      {"{\"stop\": " + repeated("[", 70), ""},
      // Fields that there are not.
      {R"({"promt": "a"})", "promt"},
      {R"({"": 1})", ""},
      {R"({"messages": []})", "messages"},
      {R"({"__proto__": {}})", "__proto__"},
      {R"({"file": "/etc/passwd"})", "file"},
      {R"({"Prompt": "a"})", "Prompt"},
      // The model.
      {R"({"model": "gpt-4"})", "model", 404},
      {R"({"model": "../tiny"})", "model", 404},
      {R"({"model": "/etc/passwd"})", "model", 404},
      {R"({"model": ""})", "model", 404},
      {R"({"model": "tiny\u0000"})", "model", 404},
      {R"({"model": 1})", "model"},
      {R"({"model": ["tiny"]})", "model"},
      // Prompts.
      {R"({"prompt": 1})", "prompt"},
      {R"({"prompt": true})", "prompt"},
      {R"({"prompt": {}})", "prompt"},
      {R"({"prompt": []})", "prompt"},
      {R"({"prompt": [[]]})", "prompt"},
      {R"({"prompt": [null]})", "prompt"},
      {R"({"prompt": [{}]})", "prompt"},
      {R"({"prompt": ["a", 1]})", "prompt"},
      {R"({"prompt": [1, "a"]})", "prompt"},
      {R"({"prompt": [-1]})", "prompt"},
      {R"({"prompt": [256]})", "prompt"},
      {R"({"prompt": [1.5]})", "prompt"},
      {R"({"prompt": [1e30]})", "prompt"},
      {R"({"prompt": [18446744073709551615]})", "prompt"},
      {R"({"prompt": [4294967296]})", "prompt"},
      {R"({"prompt": [9223372036854775808]})", "prompt"},
      {R"({"prompt": [[1], [[2]]]})", "prompt"},
      {R"({"prompt": [true]})", "prompt"},
      {R"({"prompt": [[1], [256]]})", "prompt"},
      {R"({"prompt": ")" + std::string(97, 'a') + R"("})", "prompt"},
      {R"({"prompt": ")" + std::string(96, 'a') + R"(", "max_tokens": 1})", "max_tokens"},
      {R"({"prompt": ["a", ")" + std::string(97, 'a') + R"("]})", "prompt"},
      {R"({"prompt": [)" + repeated("1,", 100000) + "1]}", "prompt"},
      {R"({"prompt": [)" + repeated("\"a\",", 64) + "\"a\"]}", "prompt"},
      {R"({"prompt": ["a", "b", "c"], "n": 22})", "prompt"},
      // Stop texts and biases.
      {R"({"stop": 1})", "stop"},
      {R"({"stop": [1]})", "stop"},
      {R"({"stop": {}})", "stop"},
      {R"({"stop": [["a"]]})", "stop"},
      {R"({"stop": [)" + repeated("\"a\",", 16) + "\"a\"]}", "stop"},
      {R"({"stop": ")" + std::string(1025, 'a') + R"("})", "stop"},
      {R"({"logit_bias": []})", "logit_bias"},
      {R"({"logit_bias": {"a": 1}})", "logit_bias"},
      {R"({"logit_bias": {"256": 1}})", "logit_bias"},
      {R"({"logit_bias": {"-1": 1}})", "logit_bias"},
      {R"({"logit_bias": {"": 1}})", "logit_bias"},
      {R"({"logit_bias": {"1 ": 1}})", "logit_bias"},
      {R"({"logit_bias": {"1": 101}})", "logit_bias"},
      {R"({"logit_bias": {"1": "1"}})", "logit_bias"},
      {R"({"logit_bias": {"99999999999999999999": 1}})", "logit_bias"},
      // The rest.
      {R"({"suffix": "x"})", "suffix"},
      {R"({"suffix": 1})", "suffix"},
      {R"({"best_of": 2})", "best_of"},
      {R"({"n": 2, "best_of": 3})", "best_of"},
      {R"({"best_of": "1"})", "best_of"},
      {R"({"seed": 1.5})", "seed"},
      {R"({"seed": "1"})", "seed"},
      {R"({"seed": 18446744073709551616})", "seed"},
      {R"({"stream_options": {}})", "stream_options"},
      {R"({"stream": true, "stream_options": 1})", "stream_options"},
      {R"({"stream": true, "stream_options": {"x": true}})", "stream_options"},
      {R"({"stream": true, "stream_options": {"include_usage": 1}})", "stream_options"},
  };
  for (const char* flag : {"echo", "stream", "ignore_eos", "return_token_ids"}) {
    for (const char* value : {"1", "\"true\"", "[]", "{}"})
      all.push_back({fmt::format("{{\"{}\": {}}}", flag, value), flag});
  }
  const std::vector<std::pair<const char*, std::vector<const char*>>> numbers = {
      {"n", {"0", "-1", "65", "1.5", "1e3", "\"1\"", "true", "9223372036854775807", "18446744073709551615"}},
      {"max_tokens", {"-1", "1.5", "97", "\"1\"", "9223372036854775807", "-9223372036854775808", "1e3", "[]"}},
      {"logprobs", {"-1", "21", "true", "1.0", "\"1\""}},
      {"temperature", {"-0.1", "101", "\"1\"", "true", "1e300"}},
      {"top_k", {"-2", "1.5", "2147483648", "\"1\""}},
      {"top_p", {"-0.1", "1.1", "\"1\"", "[1]"}},
      {"min_p", {"-0.1", "1.1", "\"1\""}},
      {"repetition_penalty", {"0", "-1", "101", "\"1\""}},
      {"presence_penalty", {"-2.1", "2.1", "\"1\""}},
      {"frequency_penalty", {"-2.1", "2.1", "{}"}},
  };
  for (const auto& [field, values] : numbers) {
    for (const char* value : values) all.push_back({fmt::format("{{\"{}\": {}}}", field, value), field});
  }
  return all;
}

class ServeFieldsServed : public Served {};

TEST_F(ServeFieldsServed, EveryBadRequestGetsAClearAnswer) {
  start();
  const std::vector<Bad> table = bad_completions();
  EXPECT_GE(table.size(), 150u);
  for (const Bad& bad : table) {
    SCOPED_TRACE(bad.body.substr(0, 120));
    const Reply reply = complete(bad.body);
    EXPECT_EQ(reply.status, bad.status);
    const json answer = json::parse(reply.body, nullptr, false);
    ASSERT_TRUE(answer.is_object() && answer["error"].is_object()) << reply.body;
    EXPECT_EQ(answer["error"]["type"], "invalid_request_error");
    EXPECT_GT(answer["error"]["message"].get<std::string>().size(), 10u);
    EXPECT_LT(reply.body.size(), 700u);
    EXPECT_EQ(answer["error"]["param"], bad.param.empty() ? json() : json(bad.param));
  }
  const json fine = json::parse(complete(R"({"prompt": "a", "max_tokens": 3})").body);
  EXPECT_EQ(fine["usage"]["completion_tokens"], 3);
  EXPECT_EQ(engine_->stats().sequences, 1) << "no bad request came to the engine";
}

TEST_F(ServeFieldsServed, TokenizeAndDetokenizeRefuseToo) {
  start();
  for (const char* body : {"", "[]", "{}", R"({"text": 1})", R"({"text": null})", R"({"txt": "a"})"}) {
    EXPECT_EQ(ask(port(), "POST", "/tokenize", body).status, 400) << body;
  }
  for (const char* body : {"", "{}", R"({"tokens": "a"})", R"({"tokens": [256]})", R"({"tokens": [-1]})",
                           R"({"tokens": [1.5]})", R"({"tokens": [[1]]})", R"({"text": "a"})"}) {
    EXPECT_EQ(ask(port(), "POST", "/detokenize", body).status, 400) << body;
  }
}

}  // namespace
}  // namespace ink
