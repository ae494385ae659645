// HttpServer: what gets through to a handler, and what does not.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "ink/serve/http_policy.h"
#include "ink/serve/http_server.h"
#include "ink/serve/metrics.h"
#include "tests/http_client.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

using std::chrono::milliseconds;

class ServeHttp : public testing::Test {
 protected:
  void start() {
    server_ = std::make_unique<HttpServer>(options_);
    server_->route("GET", "/echo", [](const HttpRequest& r) {
      return HttpResponse{.content_type = "text/plain", .body = r.method + " " + std::string(r.query_value("q"))};
    });
    server_->route("POST", "/echo", [](const HttpRequest& r) { return HttpResponse{.body = r.body}; });
    server_->route(
        "GET", "/open", [](const HttpRequest&) { return HttpResponse{.body = "open"}; }, Access::open);
    server_->route("GET", "/fails", [](const HttpRequest&) -> HttpResponse { throw std::logic_error("secret"); });
    server_->route("GET", "/refuses", [](const HttpRequest&) -> HttpResponse {
      HttpError error(429, "later", "field", "some_code");
      error.retry_after = 7;
      throw error;
    });
    server_->route("GET", "/large",
                   [](const HttpRequest&) { return HttpResponse{.body = std::string(40 << 20, 'x')}; });
    server_->route("GET", "/stream", [this](const HttpRequest&) {
      return HttpResponse{.content_type = "text/event-stream", .stream = [this](BodySink& sink) {
                            sink.write("data: 1\n\n");
                            while (!go_on_ && sink.connected()) std::this_thread::sleep_for(milliseconds(1));
                            sink.write("");
                            if (!sink.write("data: 2\n\n")) gone_ = true;
                            if (!sink.connected()) gone_ = true;
                          }};
    });
    server_->start();
  }
  Reply get(const std::string& path, const std::vector<std::string>& headers = {}) {
    return ask(server_->port(), "GET", path, "", headers);
  }
  Reply raw(const std::string& bytes) { return ask_raw(server_->port(), bytes); }

  HttpOptions options_;
  std::atomic<bool> go_on_{false}, gone_{false};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ServeHttp, AnswersOnExactPaths) {
  start();
  EXPECT_EQ(get("/echo?q=a%20b&r=c").body, "GET a b");
  EXPECT_EQ(ask(server_->port(), "POST", "/echo", "{}").body, "{}");
  EXPECT_EQ(get("/echo/").status, 404);
  EXPECT_EQ(get("/Echo").status, 404);
  EXPECT_EQ(get("/../echo").status, 404);
  const Reply head = ask(server_->port(), "HEAD", "/echo");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  const Reply wrong = ask(server_->port(), "DELETE", "/echo");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "GET, POST");
  EXPECT_EQ(wrong.raw.find("Connection:"), wrong.raw.rfind("Connection:")) << "once";
  EXPECT_NE(server_->url().find(fmt::format("127.0.0.1:{}", server_->port())), std::string::npos);
}

TEST_F(ServeHttp, EveryAnswerIsSafe) {
  start();
  for (const char* path : {"/echo", "/open", "/none", "/fails"}) {
    const Reply reply = get(path);
    EXPECT_EQ(reply.headers.at("x-content-type-options"), "nosniff");
    EXPECT_EQ(reply.headers.at("x-frame-options"), "DENY");
    EXPECT_NE(reply.headers.at("content-security-policy").find("default-src 'none'"), std::string::npos);
    EXPECT_EQ(reply.headers.at("cache-control"), "no-store");
    EXPECT_EQ(reply.headers.at("cross-origin-resource-policy"), "same-origin");
    EXPECT_FALSE(reply.headers.contains("access-control-allow-origin"));
    EXPECT_FALSE(reply.headers.contains("keep-alive"));
  }
}

TEST_F(ServeHttp, AHandlersErrorsAreOpenAis) {
  start();
  const Reply refused = get("/refuses");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("retry-after"), "7");
  EXPECT_EQ(refused.body,
            R"({"error":{"message":"later","type":"rate_limit_error","param":"field","code":"some_code"}})");
  const Reply failed = get("/fails");
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.raw.find("secret"), std::string::npos);
}

TEST_F(ServeHttp, WantsTheKey) {
  options_.api_key = "sesame";
  start();
  EXPECT_EQ(get("/open").status, 200);
  EXPECT_EQ(get("/echo").status, 401);
  EXPECT_EQ(get("/echo").headers.at("www-authenticate"), "Bearer");
  for (const char* wrong : {"Bearer", "Bearer ", "Bearer sesam", "Bearer sesame2", "Bearer Sesame", "sesame",
                            "Basic sesame", "Bearer  sesame"}) {
    EXPECT_EQ(get("/echo", {fmt::format("Authorization: {}", wrong)}).status, 401) << wrong;
  }
  EXPECT_EQ(get("/echo", {"Authorization: Bearer x", "Authorization: Bearer sesame"}).status, 401);
  EXPECT_EQ(get("/echo", {"Authorization: Bearer sesame"}).status, 200);
  EXPECT_EQ(get("/echo", {"authorization: bearer sesame"}).status, 200);
  EXPECT_EQ(get("/none").status, 401) << "what is there is nobody's business";
}

TEST(ServeSecret, IsComparedWhole) {
  EXPECT_TRUE(same_secret("", ""));
  EXPECT_TRUE(same_secret("abc", "abc"));
  for (const char* other : {"", "ab", "abcd", "abd", "Abc"}) EXPECT_FALSE(same_secret("abc", other));
}

TEST_F(ServeHttp, KnowsItsNames) {
  options_.hosts = {"box.example"};
  start();
  const auto status = [&](const std::string& host) {
    return raw(fmt::format("GET /echo HTTP/1.1\r\nConnection: close\r\n{}\r\n", host)).status;
  };
  for (const char* good : {"localhost", "LOCALHOST:80", "127.0.0.1:8080", "192.168.7.1", "[::1]:8080", "[::1]",
                           "box.example", "Box.Example:443"}) {
    EXPECT_EQ(status(fmt::format("Host: {}\r\n", good)), 200) << good;
  }
  for (const char* bad : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "[]", "[::1]x",
                          "localhost:", "localhost:80x", "localhost:1234567", "a b", "[localhost]"}) {
    EXPECT_EQ(status(fmt::format("Host: {}\r\n", bad)), 403) << bad;
  }
  EXPECT_EQ(status(""), 400);
  EXPECT_EQ(status("Host: localhost\r\nHost: localhost\r\n"), 400);
}

TEST_F(ServeHttp, RefusesPagesOfOtherOrigins) {
  start();
  const std::string own = fmt::format("Origin: http://127.0.0.1:{}", server_->port());
  EXPECT_EQ(get("/echo", {own}).status, 200);
  EXPECT_EQ(get("/echo", {"Origin: http://evil.example"}).status, 403);
  EXPECT_EQ(get("/echo", {"Origin: null"}).status, 403);
  EXPECT_EQ(get("/echo", {"Sec-Fetch-Site: cross-site"}).status, 403);
  EXPECT_EQ(get("/echo", {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}).status, 200);
  EXPECT_EQ(get("/echo", {"Sec-Fetch-Site: same-origin"}).status, 200);
  EXPECT_EQ(ask(server_->port(), "OPTIONS", "/echo", "", {"Origin: http://evil.example"}).status, 403);
  EXPECT_EQ(ask(server_->port(), "OPTIONS", "/echo").status, 405);
}

TEST_F(ServeHttp, AllowsOriginsThatAreNamed) {
  options_.origins = {"https://good.example"};
  options_.api_key = "sesame";
  start();
  const std::vector<std::string> good = {"Origin: https://good.example"};
  const Reply before = ask(server_->port(), "OPTIONS", "/echo", "", good);
  EXPECT_EQ(before.status, 204);
  EXPECT_EQ(before.headers.at("access-control-allow-methods"), "GET, POST");
  EXPECT_EQ(before.headers.at("access-control-allow-origin"), "https://good.example");
  EXPECT_EQ(get("/echo", good).status, 401);
  const Reply reply = get("/echo", {good[0], "Authorization: Bearer sesame"});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("access-control-allow-origin"), "https://good.example");
  EXPECT_EQ(reply.headers.at("vary"), "Origin");
  EXPECT_EQ(get("/echo", {"Origin: https://good.example.evil.example", "Authorization: Bearer sesame"}).status, 403);
}

TEST_F(ServeHttp, BodiesAreJsonOfOneLength) {
  options_.body_bytes = 100;
  start();
  const auto status = [&](const std::string& headers, const std::string& body) {
    return raw("POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n" + body).status;
  };
  const std::string json = "Content-Type: application/json\r\n";
  EXPECT_EQ(status(json + "Content-Length: 2\r\n", "{}"), 200);
  EXPECT_EQ(status("Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n", "{}"), 200);
  EXPECT_EQ(status(json + "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 200);
  EXPECT_EQ(status(json + "Content-Length: 101\r\n", std::string(101, ' ')), 413);
  EXPECT_EQ(status(json + "Content-Length: 99999999999999999999999\r\n", "{}"), 413);
  EXPECT_EQ(status(json + "Transfer-Encoding: chunked\r\n", "80\r\n" + std::string(128, ' ') + "\r\n0\r\n\r\n"), 413);
  std::string endless;
  for (int i = 0; i < 1000; ++i) endless += "80\r\n" + std::string(128, ' ') + "\r\n";
  EXPECT_EQ(status(json + "Transfer-Encoding: chunked\r\n", endless), 413);
  for (const char* length : {"-1", "+2", "2x", "0x2", "two"}) {
    EXPECT_EQ(status(json + fmt::format("Content-Length: {}\r\n", length), "{}"), 400) << length;
  }
  EXPECT_EQ(status(json + "Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), 400);
  EXPECT_EQ(status(json + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status(json + "Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 400);
  for (const char* second : {"chunked", "identity"}) {
    const std::string two = fmt::format("Transfer-Encoding: chunked\r\nTransfer-Encoding: {}\r\n", second);
    EXPECT_EQ(status(json + two, "2\r\n{}\r\n0\r\n\r\n"), 400) << second;
  }
  EXPECT_EQ(status(json + "Content-Encoding: gzip\r\nContent-Length: 2\r\n", "{}"), 415);
  EXPECT_EQ(status(json, ""), 411);
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                           "application/jsonx", "json"}) {
    EXPECT_EQ(status(fmt::format("Content-Type: {}\r\nContent-Length: 2\r\n", type), "{}"), 415) << type;
  }
  EXPECT_EQ(status("Content-Length: 2\r\n", "{}"), 415);
  EXPECT_EQ(raw("GET /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}").status, 400);
}

// What follows a refused body is not taken for a request.
TEST_F(ServeHttp, ClosesAfterABodyThatItDidNotRead) {
  start();
  const Reply reply =
      raw("POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
          "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.raw.find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(ServeHttp, KeepsAConnectionForTheNextRequest) {
  start();
  Connected connection(server_->port());
  for (const char* word : {"one", "two", "three", "four", "five", "six", "seven"}) {
    connection.send(fmt::format("GET /echo?q={} HTTP/1.1\r\nHost: localhost\r\n\r\n", word));
    EXPECT_NE(connection.read_until(word).find(word), std::string::npos);
  }
  connection.send("GET /echo?q=a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /echo?q=b HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(connection.read_until("GET b").find("GET a"), std::string::npos);
}

TEST_F(ServeHttp, WhatIsNoHttpGetsAClearAnswer) {
  start();
  const std::string host = "Host: localhost\r\n";
  EXPECT_EQ(raw("nonsense\r\n\r\n").status, 400);
  for (const char* name : {"Content-Length ", "X Y", "X\ty", "", "X(y)", "\xc3\xa4"}) {
    EXPECT_EQ(raw(fmt::format("GET /echo HTTP/1.1\r\nConnection: close\r\n{}{}: 2\r\n\r\n", host, name)).status, 400)
        << name;
  }
  EXPECT_EQ(raw("GET /echo HTTP/9.9\r\n" + host + "\r\n").status, 400);
  EXPECT_EQ(raw("BREW /echo HTTP/1.1\r\n" + host + "\r\n").status, 400);
  EXPECT_EQ(raw("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + "\r\n").status, 414);
  const Reply large = raw("GET /echo HTTP/1.1\r\n" + host + "X: " + std::string(70000, 'a') + "\r\n\r\n");
  EXPECT_TRUE(large.status == 431 || large.status == 400) << large.status;
  std::string many;
  for (int i = 0; i < 10000; ++i) many += "X: y\r\n";
  EXPECT_EQ(raw("GET /echo HTTP/1.1\r\n" + host + many + "\r\n").status, 431);
  EXPECT_EQ(raw("GET /echo HTTP/1.1\r\n" + host + "Range: bytes=0-0,1-1\r\nConnection: close\r\n\r\n").body, "GET ");
  Connected(server_->port()).send(std::string_view("\0\x16\x03\x01", 4));
  Connected(server_->port()).send("GET");
  EXPECT_EQ(get("/echo").status, 200) << "it is still there";
}

TEST_F(ServeHttp, ARequestMayNotTakeForEver) {
  options_.limits.request = milliseconds(150);
  start();
  const Reply headers = raw("GET /echo HTTP/1.1\r\nHost:");
  EXPECT_EQ(headers.status, 408);
  // A byte at a time is no better.
  Connected slow(server_->port());
  std::atomic<bool> stop{false};
  std::thread dripping([&] {
    for (int i = 0; i < 2000 && !stop; ++i) {
      slow.send(i == 0 ? "GET /echo HTTP/1.1\r\nX: " : "x");
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  EXPECT_EQ(parse_reply(slow.read_until("}}")).status, 408);
  stop = true;
  dripping.join();
  const Reply body =
      raw("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{");
  EXPECT_TRUE(body.status == 408 || body.status == 0) << body.status;
}

TEST_F(ServeHttp, AnIdleConnectionIsClosed) {
  options_.limits.between = milliseconds(50);
  start();
  EXPECT_EQ(raw("").raw, "");
}

TEST_F(ServeHttp, ConnectionsAreLimited) {
  options_.connections = 2;
  start();
  {
    Connected a(server_->port()), b(server_->port());
    a.send("GET /echo?q=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    b.send("GET /echo?q=2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    a.read_until("GET 1");
    b.read_until("GET 2");
    const Reply third = get("/echo");
    EXPECT_EQ(third.status, 503);
    EXPECT_EQ(third.headers.at("retry-after"), "1");
    EXPECT_EQ(server_->counts().refused_connections, 1);
  }
  for (int i = 0; i < 5000 && server_->counts().connections > 0; ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(get("/echo").status, 200);
}

TEST_F(ServeHttp, StreamsPieceByPiece) {
  start();
  Connected connection(server_->port());
  connection.send("GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string all = connection.read_until("data: 1");
  EXPECT_EQ(all.find("data: 2"), std::string::npos);
  go_on_ = true;
  all += connection.read_all();
  EXPECT_EQ(parse_reply(all).body, "data: 1\n\ndata: 2\n\n");
  EXPECT_FALSE(gone_);
}

// HTTP/1.0 has no chunks.
TEST_F(ServeHttp, AnOldClientsStreamIsPlain) {
  start();
  go_on_ = true;
  for (const char* connection : {"", "Connection: keep-alive\r\n"}) {
    const Reply reply = raw(fmt::format("GET /stream HTTP/1.0\r\nHost: localhost\r\n{}\r\n", connection));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.raw.find("chunked"), std::string::npos);
    EXPECT_EQ(reply.body, "data: 1\n\ndata: 2\n\n");
  }
}

TEST_F(ServeHttp, LargeAnswersThatNobodyTakesAreLimited) {
  options_.answer_bytes = 50 << 20;
  start();
  Connected slow(server_->port());
  slow.send("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  size_t size = slow.read_until("200 OK").size();
  const Reply refused = get("/large");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_EQ(get("/echo").status, 200);
  size += slow.read_all().size();
  EXPECT_GT(size, size_t{40} << 20);
  EXPECT_EQ(get("/large").status, 200);
  EXPECT_EQ(get("/large").status, 200);
}

TEST_F(ServeHttp, ASinkKnowsThatTheClientHasGone) {
  start();
  {
    Connected connection(server_->port());
    connection.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.read_until("data: 1");
  }
  for (int i = 0; i < 10000 && !gone_; ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(gone_);
}

TEST_F(ServeHttp, DrainsBeforeItStops) {
  start();
  Connected idle(server_->port()), running(server_->port());
  running.send("GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string all = running.read_until("data: 1");
  server_->drain();
  const Reply refused = get("/echo");
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("shutting_down"), std::string::npos);
  std::thread stop([&] { server_->stop(std::chrono::seconds(30)); });
  go_on_ = true;
  all += running.read_all();
  EXPECT_EQ(parse_reply(all).body, "data: 1\n\ndata: 2\n\n");
  stop.join();
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_EQ(get("/echo").status, 0);
}

TEST_F(ServeHttp, StopCutsWhatDoesNotEnd) {
  start();
  Connected running(server_->port());
  running.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  running.read_until("data: 1");
  server_->stop();
  EXPECT_TRUE(gone_);
}

TEST_F(ServeHttp, APortThatIsTakenIsAnError) {
  start();
  HttpOptions same;
  same.port = server_->port();
  HttpServer second(same);
  expect_error([&] { second.start(); }, {std::to_string(same.port), "in use"});
}

TEST_F(ServeHttp, CountsItsAnswers) {
  start();
  get("/echo");
  get("/none");
  get("/none");
  const HttpServer::Counts counts = server_->counts();
  EXPECT_EQ(counts.answers, (std::vector<std::pair<int, int64_t>>{{200, 1}, {404, 2}}));
  EXPECT_NE(http_library().find("cpp-httplib"), std::string_view::npos);
}

TEST(ServeMetrics, ArePrometheusText) {
  MetricsText m;
  m.counter("a_total", "As.", 3, "x=\"1\"");
  m.counter("a_total", "As.", 4, "x=\"2\"");
  m.gauge("b", "Bs.", -1);
  EXPECT_EQ(m.text(),
            "# HELP ink_a_total As.\n# TYPE ink_a_total counter\nink_a_total{x=\"1\"} 3\nink_a_total{x=\"2\"} 4\n"
            "# HELP ink_b Bs.\n# TYPE ink_b gauge\nink_b -1\n");
  Histogram h;
  for (const double t : {0.0005, 0.001, 0.3, 1000.0}) h.add(t);
  MetricsText times;
  times.histogram("t", "Ts.", h);
  for (const char* line :
       {"ink_t_bucket{le=\"0.001\"} 2\n", "ink_t_bucket{le=\"0.25\"} 2\n", "ink_t_bucket{le=\"0.5\"} 3\n",
        "ink_t_bucket{le=\"60\"} 3\n", "ink_t_bucket{le=\"+Inf\"} 4\n", "ink_t_sum 1000.3015\n", "ink_t_count 4\n"}) {
    EXPECT_NE(times.text().find(line), std::string::npos) << line << "in\n" << times.text();
  }
}

}  // namespace
}  // namespace ink
