// The page's files, and the JSON that its dashboard reads from run folders.
#include "ink/serve/page.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "ink/base/file.h"
#include "ink/serve/dashboard.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

using nlohmann::json;

std::string step_line(int64_t step, double loss) {
  return json{{"step", step}, {"loss", loss}, {"lr", 0.001}}.dump() + "\n";
}

class RunsTest : public testing::Test {
 protected:
  void write(const std::string& file, std::string_view text) const { write_file(folder_ / file, text); }
  void append(std::string_view text) const {
    OutputFile(folder_ / "metrics.jsonl", OutputFile::Mode::append).write(text);
  }
  json metrics(const std::string& from = "") { return json::parse(dashboard_.metrics(0, from)); }
  // The status of the HttpError that call throws; 0 if it throws none.
  template <class Call>
  static int status_of(const Call& call) {
    try {
      call();
    } catch (const HttpError& error) {
      return error.status();
    }
    return 0;
  }

  TempDir folder_;
  Dashboard dashboard_{{folder_.path()}, false};
};

TEST_F(RunsTest, ListsRunsThatHaveNotBegun) {
  const json listed = json::parse(dashboard_.runs());
  EXPECT_EQ(listed["model"], false);
  ASSERT_EQ(listed["runs"].size(), 1u);
  const json& run = listed["runs"][0];
  EXPECT_EQ(run["name"], folder_.path().filename().string());
  EXPECT_EQ(run["last_step"], -1);
  EXPECT_EQ(run["last_sample"], -1);
  EXPECT_TRUE(run["updated_seconds"].is_null());
  EXPECT_EQ(metrics()["series"]["loss"]["step"], json::array());
  EXPECT_EQ(json::parse(dashboard_.details(0)),
            (json{{"options", nullptr}, {"about", nullptr}, {"samples", json::array()}}));
  EXPECT_EQ(json::parse(Dashboard({}, true).runs()), (json{{"model", true}, {"runs", json::array()}}));
}

TEST_F(RunsTest, TellsWhatIsNew) {
  append(step_line(0, 4) + "{\"step\":1,\"val_loss\":5}\n" + step_line(1, 3));
  const json first = metrics();
  EXPECT_EQ(first["reset"], true);
  EXPECT_EQ(first["series"]["loss"], (json{{"size", 1}, {"step", {0, 1}}, {"mean", {4.0, 3.0}}}));
  EXPECT_EQ(first["series"]["val_loss"]["mean"], json({5.0}));
  append(step_line(2, 2) + "{\"step\":3,\"val_loss\":4}\n");
  const json second = metrics(first["cursor"]);
  EXPECT_EQ(second["reset"], false);
  // From the last step on: what was told of it may have been half of it.
  EXPECT_EQ(second["series"]["loss"]["step"], json({1, 2}));
  EXPECT_EQ(second["series"]["val_loss"]["step"], json({1, 3}));
  append(step_line(3, 1));
  EXPECT_EQ(metrics(second["cursor"])["series"]["loss"]["step"], json({3}));
  EXPECT_EQ(json::parse(dashboard_.runs())["runs"][0]["last_step"], 3);
  EXPECT_GE(json::parse(dashboard_.runs())["runs"][0]["updated_seconds"], 0);
}

TEST_F(RunsTest, TellsAllAgainAfterARunWentBack) {
  append(step_line(0, 4) + step_line(1, 3) + step_line(2, 2));
  const json first = metrics();
  write("metrics.jsonl", step_line(0, 4) + step_line(1, 3.5));
  const json second = metrics(first["cursor"]);
  EXPECT_EQ(second["reset"], true);
  EXPECT_EQ(second["series"]["loss"]["mean"], json({4.0, 3.5}));
}

TEST_F(RunsTest, ValuesThatAreNotFiniteAreNull) {
  append("{\"step\":0,\"loss\":null}\n" + step_line(1, 2));
  EXPECT_EQ(metrics()["series"]["loss"]["mean"], json({nullptr, 2.0}));
}

TEST_F(RunsTest, LongRunsComeInBuckets) {
  std::string text;
  const int64_t steps = 2 * Dashboard::kBuckets + 1;
  for (int64_t step = 0; step < steps; ++step) text += step_line(step, static_cast<double>(step % 4));
  append(text);
  const json first = metrics();
  const json& loss = first["series"]["loss"];
  EXPECT_EQ(loss["size"], 4);
  ASSERT_EQ(loss["step"].size(), 1001u);
  EXPECT_EQ(loss["step"][1], 4);
  EXPECT_EQ(loss["mean"][1], 1.5);
  EXPECT_EQ(loss["low"][1], 0.0);
  EXPECT_EQ(loss["high"][1], 3.0);
  append(step_line(steps, 7));
  const json second = metrics(first["cursor"]);
  EXPECT_EQ(second["reset"], false);
  EXPECT_EQ(second["series"]["loss"]["step"], json({4000})) << "the bucket that has grown, whole";
  EXPECT_EQ(second["series"]["loss"]["mean"], json({3.5}));
  const json window = json::parse(dashboard_.window(0, 100, 102));
  EXPECT_EQ(window["series"]["loss"], (json{{"size", 1}, {"step", {100, 101, 102}}, {"mean", {0.0, 1.0, 2.0}}}));
}

TEST_F(RunsTest, BucketsThatGrowAreTakenAnew) {
  std::string text;
  for (size_t step = 0; step < Dashboard::kBuckets; ++step) text += step_line(static_cast<int64_t>(step), 1);
  append(text);
  const json first = metrics();
  EXPECT_EQ(first["series"]["loss"]["size"], 1);
  append(step_line(Dashboard::kBuckets, 1));
  const json second = metrics(first["cursor"]);
  EXPECT_EQ(second["reset"], true);
  EXPECT_EQ(second["series"]["loss"]["size"], 2);
}

TEST_F(RunsTest, DetailsAreTheFilesOfTheRun) {
  write("run.toml", "lr = 1e-3\n\xff");
  write("run.json", R"({"steps": 20, "memory": [{"name": "parameters", "bytes": 4}]})");
  append("{\"step\":3,\"sample\":\"<b>&\"}\n");
  const json details = json::parse(dashboard_.details(0));
  EXPECT_EQ(details["options"], "lr = 1e-3\n\uFFFD");
  EXPECT_EQ(details["about"]["steps"], 20);
  EXPECT_EQ(details["samples"], json::array({{{"step", 3}, {"text", "<b>&"}}}));
}

TEST_F(RunsTest, FilesThatAreNotWhatTheyShouldBeAreNotThere) {
  fs::create_directory(folder_ / "run.toml");
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string("\"x\""), std::string(1 << 20, ' ') + "{}"}) {
    write("run.json", text);
    const json details = json::parse(dashboard_.details(0));
    EXPECT_TRUE(details["about"].is_null()) << text.substr(0, 10);
    EXPECT_TRUE(details["options"].is_null());
  }
}

TEST_F(RunsTest, WhatIsNestedTooDeepIsLeftOut) {
  const size_t depth = 30000;
  write("run.json", R"({"steps": 20, "deep": )" + std::string(depth, '[') + std::string(depth, ']') + "}");
  const std::string details = dashboard_.details(0);
  EXPECT_LT(details.size(), 1000u);
  EXPECT_EQ(json::parse(details)["about"]["steps"], 20);
  append(R"({"step": 3, "loss": 1, "deep": )" + std::string(depth, '[') + std::string(depth, ']') + "}\n");
  EXPECT_EQ(json::parse(dashboard_.runs())["runs"][0]["last_step"], 3);
}

TEST_F(RunsTest, RefusesRunsAndCursorsThatAreNone) {
  EXPECT_EQ(status_of([&] { dashboard_.metrics(1, ""); }), 404);
  EXPECT_EQ(status_of([&] { dashboard_.details(SIZE_MAX); }), 404);
  EXPECT_EQ(status_of([&] { dashboard_.window(1, 0, 1); }), 404);
  for (const char* cursor : {"x", "0", "0.1", "0.1.", "0.1.2.", "0.1.2x", "0.1.2.3", " 0.1.2",
                             "0.1.99999999999999999999", "../../etc/passwd"}) {
    EXPECT_EQ(status_of([&] { dashboard_.metrics(0, cursor); }), 400) << cursor;
  }
  EXPECT_EQ(metrics("7.7.7")["reset"], true) << "of another process";
  EXPECT_EQ(status_of([&] { dashboard_.metrics(0, "0.1.-5"); }), 0);
}

TEST(WebFiles, TypesAndTags) {
  std::set<std::string_view> paths;
  std::set<std::string> tags;
  for (const WebFile& file : web_files()) {
    paths.insert(file.path);
    tags.insert(file.etag);
    EXPECT_FALSE(file.content.empty()) << file.path;
    EXPECT_EQ(file.etag.size(), 34u) << file.path;
    EXPECT_EQ(file.etag.front(), '"');
    const bool html = file.content.starts_with("<!doctype html>"), svg = file.content.starts_with("<svg");
    EXPECT_EQ(file.content_type.starts_with("text/html"), html) << file.path;
    EXPECT_EQ(file.content_type == "image/svg+xml", svg) << file.path;
    EXPECT_EQ(file.content_type.starts_with("text/javascript"), file.path.ends_with(".js")) << file.path;
    EXPECT_EQ(file.content_type.starts_with("text/css"), file.path.ends_with(".css")) << file.path;
  }
  EXPECT_EQ(paths.size(), web_files().size());
  EXPECT_EQ(tags.size(), web_files().size());
  EXPECT_EQ(web_files().front().path, "/");
}

TEST(WebFiles, AreThoseOfTheFolder) {
  std::set<std::string> on_disk, embedded;
  for (const fs::directory_entry& entry : fs::directory_iterator(INK_SOURCE_DIR "/ink/serve/web")) {
    if (entry.path().extension() != ".txt") on_disk.insert(entry.path().filename().string());
  }
  for (const WebFile& file : web_files()) {
    const std::string name = file.path == "/" ? "index.html" : std::string(file.path.substr(1));
    embedded.insert(name);
    EXPECT_EQ(file.content, read_file(fs::path(INK_SOURCE_DIR "/ink/serve/web") / name)) << name;
  }
  EXPECT_EQ(on_disk, embedded);
}

// Nothing comes from elsewhere, and nothing that the content policy forbids is tried.
TEST(WebFiles, NeedNoOtherAddressAndNothingInline) {
  for (const WebFile& file : web_files()) {
    std::string text(file.content);
    const std::string names_space = "http://www.w3.org/2000/svg";  // a name that looks like an address
    for (size_t at = 0; (at = text.find(names_space)) != std::string::npos;) text.erase(at, names_space.size());
    for (const char* part : {"http:", "https:", "\"//", "'//", "`//", "url(//", "@import", "innerHTML", "outerHTML",
                             "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:"}) {
      EXPECT_EQ(text.find(part), std::string::npos) << file.path << " has " << part;
    }
    if (!file.content_type.starts_with("text/html")) continue;
    for (const char* part : {"<style", " style=", " onclick=", " onload=", "<iframe", "<script>"}) {
      EXPECT_EQ(text.find(part), std::string::npos) << file.path << " has " << part;
    }
  }
}

TEST(WebFiles, AreSmall) {
  size_t bytes = 0;
  for (const WebFile& file : web_files()) bytes += file.content.size();
  EXPECT_LT(bytes, 100000u);
}

}  // namespace
}  // namespace ink
