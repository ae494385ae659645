// The page and the dashboard as a client gets them from a server.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ink/base/file.h"
#include "ink/serve/dashboard.h"
#include "ink/serve/http_server.h"
#include "ink/serve/page.h"
#include "ink/serve/status.h"
#include "tests/http_client.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

class PageServer {
 public:
  explicit PageServer(const std::string& api_key = "")
      : dashboard_({run_.path()}, false), server_({.api_key = api_key}) {
    dashboard_.add_routes(server_);
    add_page(server_);
    add_status_routes(server_);
    server_.start();
  }
  Reply get(const std::string& path, const std::vector<std::string>& headers = {}) {
    return ask(server_.port(), "GET", path, "", headers);
  }
  const fs::path& run() const { return run_.path(); }

 private:
  TempDir run_;
  Dashboard dashboard_;
  HttpServer server_;
};

TEST(Page, EveryFileHasItsTypeAndAStrictPolicy) {
  PageServer server;
  for (const WebFile& file : web_files()) {
    const Reply reply = server.get(std::string(file.path));
    EXPECT_EQ(reply.status, 200) << file.path;
    EXPECT_EQ(reply.body, file.content) << file.path;
    EXPECT_EQ(reply.headers.at("content-type"), file.content_type);
    EXPECT_EQ(reply.headers.at("etag"), file.etag);
    EXPECT_EQ(reply.headers.at("cache-control"), "no-cache");
    EXPECT_EQ(reply.headers.at("x-content-type-options"), "nosniff");
    const std::string& policy = reply.headers.at("content-security-policy");
    for (const char* part : {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
                             "frame-ancestors 'none'"}) {
      EXPECT_NE(policy.find(part), std::string::npos) << policy;
    }
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
  }
}

TEST(Page, AFileThatTheBrowserHasIsNotSentAgain) {
  PageServer server;
  const WebFile& file = web_files().back();
  const Reply same = server.get(std::string(file.path), {"If-None-Match: " + file.etag});
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.body, "");
  EXPECT_EQ(server.get(std::string(file.path), {"If-None-Match: \"other\""}).status, 200);
}

TEST(Page, OnlyItsFilesAreServed) {
  PageServer server;
  write_file(server.run() / "secret.txt", "secret");
  for (const char* path : {"/index.html", "/CMakeLists.txt", "/../page.cc", "/..%2fpage.cc", "/run.toml", "//style.css",
                           "/secret.txt", "/api/runs/secret.txt"}) {
    EXPECT_EQ(server.get(path).status, 404) << path;
  }
}

TEST(Page, TheApiKeyIsForTheRunsNotForThePage) {
  PageServer server("key");
  EXPECT_EQ(server.get("/").status, 200);
  EXPECT_EQ(server.get("/main.js").status, 200);
  EXPECT_EQ(server.get("/api/runs").status, 401);
  EXPECT_EQ(server.get("/api/runs/metrics?run=0").status, 401);
  EXPECT_EQ(server.get("/metrics").status, 401);
  EXPECT_EQ(server.get("/healthz").status, 200);
  EXPECT_EQ(server.get("/api/runs", {"Authorization: Bearer key"}).status, 200);
}

TEST(DashboardRoutes, AnswerJson) {
  PageServer server;
  write_file(server.run() / "metrics.jsonl", "{\"step\":0,\"loss\":2.5}\n{\"step\":1,\"loss\":1.5}\n");
  const Reply runs = server.get("/api/runs");
  EXPECT_EQ(runs.status, 200);
  EXPECT_EQ(runs.headers.at("content-type"), "application/json");
  EXPECT_EQ(nlohmann::json::parse(runs.body)["runs"][0]["last_step"], 1);
  const auto metrics = nlohmann::json::parse(server.get("/api/runs/metrics?run=0&from=").body);
  EXPECT_EQ(metrics["series"]["loss"]["mean"], nlohmann::json({2.5, 1.5}));
  const auto window = nlohmann::json::parse(server.get("/api/runs/metrics?run=0&first=1&last=1").body);
  EXPECT_EQ(window["series"]["loss"]["step"], nlohmann::json({1}));
  EXPECT_EQ(server.get("/api/runs/details?run=0").status, 200);
}

TEST(DashboardRoutes, ARunIsNamedByItsIndexOnly) {
  PageServer server;
  for (const char* path :
       {"/api/runs/details", "/api/runs/details?run=", "/api/runs/details?run=-1", "/api/runs/details?run=0x0",
        "/api/runs/details?run=0%20", "/api/runs/details?run=/etc/passwd", "/api/runs/details?run=..%2f..",
        "/api/runs/details?run=99999999999999999999999", "/api/runs/metrics?run=0&from=%00",
        "/api/runs/metrics?run=0&first=1", "/api/runs/metrics?run=0&first=x&last=2",
        "/api/runs/metrics?run=0&first=-1&last=2"}) {
    EXPECT_EQ(server.get(path).status, 400) << path;
  }
  EXPECT_EQ(server.get("/api/runs/details?run=1").status, 404);
}

}  // namespace
}  // namespace ink
