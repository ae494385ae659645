// ink serve as a program: who may reach it, its signals, and the examples of docs/api.md.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "tests/cli_process.h"
#include "tests/http_client.h"
#include "tests/serve_fixture.h"

namespace ink {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class CliServe : public Cli {
 protected:
  void SetUp() override {
    ::unsetenv("INK_API_KEY");
    save_served(dir_ / "model", 7);
  }

  // Starts it and waits until it listens.
  void serve(const Words& options = {}, const Words& what = {"--model", "model"}) {
    program_.start(Words{"serve", "--port", "0"} + what + options);
    wait_for(dir_ / ".out", "http://");
    const std::string out = read_file(dir_ / ".out");
    port_ = std::stoi(out.substr(out.rfind(':') + 1));
  }

  Reply complete(const std::string& body) const { return ask(port_, "POST", "/v1/completions", body); }

  Program program_{dir_.path()};
  int port_ = 0;
};

TEST_F(CliServe, ServesUntilItIsTold) {
  serve({"--context", "50", "--parallel", "3", "--recent", "2", "--name", "some/name"});
  const json answer = json::parse(complete(R"({"prompt": "ab", "max_tokens": 4, "seed": 9})").body);
  EXPECT_EQ(answer["model"], "some/name");
  EXPECT_EQ(json::parse(ask(port_, "GET", "/v1/models").body)["data"][0]["context"], 50);
  EXPECT_EQ(ask(port_, "GET", "/v1/models/some/name").status, 200);
  const json sample = json::parse(ok({"sample", "--model", "model", "--prompt", "ab", "--max-tokens", "4", "--seed",
                                      "9", "--json", "--context", "50"}));
  EXPECT_EQ(answer["choices"][0]["text"], sample["text"]) << "as ink sample does with the same seed";
}

TEST_F(CliServe, AServerOfRunsTellsHowItIsToo) {
  serve({}, {"--run", "model"});
  EXPECT_EQ(ask(port_, "GET", "/healthz").body, R"({"status":"ok"})");
  const std::string metrics = ask(port_, "GET", "/metrics").body;
  EXPECT_NE(metrics.find("ink_http_answers_total{status=\"200\"} 1\n"), std::string::npos) << metrics;
  EXPECT_EQ(metrics.find("ink_sequences"), std::string::npos) << "there is no model";
  EXPECT_EQ(ask(port_, "GET", "/v1/models").status, 404);
}

TEST_F(CliServe, FinishesWhatRunsAtSigterm) {
  serve({"--parallel", "1"});
  std::thread client([&] {
    const Reply reply = complete(R"({"prompt": "ab", "n": 32, "max_tokens": 90})");
    ASSERT_EQ(reply.status, 200) << reply.raw;
    EXPECT_EQ(json::parse(reply.body)["usage"]["completion_tokens"], 32 * 90);
  });
  for (int i = 0; i < 5000; ++i) {
    if (ask(port_, "GET", "/metrics").body.find("ink_sequences_running 1") != std::string::npos) break;
  }
  program_.send(SIGTERM);
  client.join();
  const Output output = program_.wait();
  EXPECT_EQ(output.status, 0);
  EXPECT_NE(output.out.find("finishing"), std::string::npos);
  EXPECT_EQ(output.err, "");
}

TEST_F(CliServe, ASecondSignalEndsIt) {
  serve();
  Connected endless(port_);
  const std::string body = R"({"prompt": "ab", "n": 64, "max_tokens": 90})";
  endless.send(
      fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "Content-Length: {}\r\n\r\n{}",
                  body.size(), body));
  program_.send(SIGTERM);
  wait_for(dir_ / ".out", "finishing");
  program_.send(SIGTERM);
  const int status = program_.wait().status;
  EXPECT_TRUE(status == 0 || status == 128 + SIGTERM) << status;
}

TEST_F(CliServe, LoadsTheModelAnewAtSighup) {
  serve();
  const std::string body = R"({"prompt": "ab", "max_tokens": 20, "temperature": 0})";
  const json before = json::parse(complete(body).body)["choices"];
  save_served(dir_ / "other", 8);
  fs::rename(dir_ / "model", dir_ / "gone");
  program_.send(SIGHUP);
  wait_for(dir_ / ".err", "the model stays as it is");
  EXPECT_EQ(json::parse(complete(body).body)["choices"], before);
  fs::rename(dir_ / "other", dir_ / "model");
  program_.send(SIGHUP);
  wait_for(dir_ / ".out", "loaded again");
  EXPECT_NE(json::parse(complete(body).body)["choices"], before);
}

TEST_F(CliServe, AnOpenAddressNeedsAKey) {
  const Words open = {"serve", "--model", "model", "--address", "0.0.0.0"};
  fails(2, open, {"--address 0.0.0.0", "--api-key", "--no-auth"});
  fails(2, {"serve", "--model", "model", "--address", "::"}, {"--api-key"});
  fails(2, {"serve", "--model", "model", "--address", "localhost"}, {"not an IP address"});
  fails(2, open + Words{"--api-key", "a b"}, {"blanks"});
  fails(2, open + Words{"--api-key", "a", "--no-auth"}, {"--no-auth"});
  fails(2, {"serve", "--model", "model", "--port", "65536"}, {"--port"});
  fails(1, {"serve", "--model", "none"}, {"none"});
  fails(1, {"serve", "--model", "model", "--address", "192.0.2.1", "--port", "1", "--no-auth"}, {"cannot listen"});

  ::setenv("INK_API_KEY", "sesame", 1);
  serve({"--address", "0.0.0.0"});
  EXPECT_EQ(complete("{}").status, 401);
  EXPECT_EQ(ask(port_, "GET", "/v1/models", "", {"Authorization: Bearer sesame"}).status, 200);
}

TEST_F(CliServe, NamesThatNoRequestCanHaveAreRefused) {
  for (const char* origin : {"*", "null", "", "example.org", "https://", "https://example.org/",
                             "https://*.example.org", "https://Example.org", "https://a.example,https://b.example"}) {
    fails(2, {"serve", "--model", "model", "--allow-origin", origin}, {"--allow-origin"});
  }
  for (const char* host : {"*", "", "box.example:8080", "http://box.example", "box.example/", "Box.example"}) {
    fails(2, {"serve", "--model", "model", "--allow-host", host}, {"--allow-host"});
  }
  serve({"--allow-origin", "https://a.example:8443", "--allow-origin", "http://localhost:3000", "--allow-host",
         "box.example"});
  EXPECT_EQ(ask(port_, "GET", "/v1/models", "", {"Origin: http://localhost:3000"}).status, 200);
}

// Every block of shell that docs/api.md has, with its server's address.
TEST_F(CliServe, TheExamplesOfTheDocsWork) {
  const std::string docs = read_file(fs::path(INK_SOURCE_DIR) / "docs" / "api.md");
  serve({"--name", "gpt2"});
  const std::regex block("```sh\n(curl [^`]*)```"), address("127\\.0\\.0\\.1:8080");
  int count = 0;
  for (std::sregex_iterator it(docs.begin(), docs.end(), block), end; it != end; ++it, ++count) {
    const std::string command = std::regex_replace((*it)[1].str(), address, fmt::format("127.0.0.1:{}", port_));
    SCOPED_TRACE(command);
    write_file(dir_ / "example.sh", "set -e\n" + command);
    const std::string run = fmt::format("cd '{}' && bash example.sh > answer 2> problems", dir_.path().string());
    ASSERT_EQ(std::system(run.c_str()), 0) << read_file(dir_ / "problems");
    const std::string answer = read_file(dir_ / "answer");
    EXPECT_FALSE(answer.empty());
    EXPECT_EQ(answer.find("\"error\""), std::string::npos) << answer;
  }
  EXPECT_GE(count, 8);
}

}  // namespace
}  // namespace ink
