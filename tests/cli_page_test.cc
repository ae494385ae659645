// ink plot, and what ink serve and ink train say of runs to show.
#include <gtest/gtest.h>

#include <string>

#include "ink/base/file.h"
#include "tests/cli_process.h"

namespace ink {
namespace {

class CliPage : public Cli {
 protected:
  void write_run(const std::string& name) const {
    make_directories(dir_ / name);
    write_file(dir_ / name / "metrics.jsonl", "{\"step\":0,\"loss\":3}\n{\"step\":1,\"loss\":2}\n");
  }
};

TEST_F(CliPage, PlotWritesAPicture) {
  write_run("a");
  write_run("b");
  EXPECT_EQ(ok({"plot", "a", "b"}), "plot.svg\n");
  const std::string svg = read_file(dir_ / "plot.svg");
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_NE(svg.find(">b</text>"), std::string::npos);
  EXPECT_EQ(ok({"plot", "a", "b", "--out", "-"}), svg);
  EXPECT_EQ(ok({"plot", "a", "--log", "--smoothing", "0.9", "--first", "1", "--out", "one.svg"}), "one.svg\n");
  EXPECT_NE(read_file(dir_ / "one.svg").find("logarithmic"), std::string::npos);
}

TEST_F(CliPage, PlotSaysWhatIsWrong) {
  write_run("a");
  make_directories(dir_ / "empty");
  fails(2, {"plot"}, {"runs"});
  fails(1, {"plot", "a", "empty"}, {"empty", "metrics.jsonl"});
  fails(1, {"plot", "absent"}, {"absent"});
  fails(1, {"plot", "a", "--first", "5"}, {"no values"});
  fails(2, {"plot", "a", "--first", "5", "--last", "4"}, {"--first"});
  fails(2, {"plot", "a", "--smoothing", "1"}, {"--smoothing"});
  fails(2, {"plot", "a", "--smoothing", "nan"}, {"--smoothing"});
  fails(2, {"plot", "a", "--first", "-1"}, {"--first"});
  fails(1, {"plot", "a", "--out", "absent/x.svg"}, {"x.svg"});
  EXPECT_FALSE(fs::exists(dir_ / "plot.svg"));
}

TEST_F(CliPage, ServeNeedsSomethingToShow) {
  fails(2, {"serve"}, {"--model", "--run"});
  fails(1, {"serve", "--run", "absent"}, {"absent"});
}

TEST_F(CliPage, TrainShowsARunFolder) {
  std::string text;
  for (int line = 0; line < 40; ++line) text += "to be or not to be\n";
  write_file(dir_ / "text.txt", text);
  fails(2, {"train", "--train-data", "x", "--out", "", "--dashboard", "0"}, {"--dashboard", "--out"});
  fails(2, {"train", "--data", "text.txt", "--dashboard", "65536"}, {"--dashboard"});
  const std::string said =
      ok({"train", "--data", "text.txt", "--out", "run", "--layers", "1", "--heads", "2", "--channels", "8",
          "--context", "16", "--steps", "2", "--sample-every", "0", "--dashboard", "0"});
  EXPECT_NE(said.find("charts on http://127.0.0.1:"), std::string::npos) << said;
  EXPECT_EQ(read_file(dir_ / "run" / "run.toml").find("dashboard"), std::string::npos);
  EXPECT_NE(read_file(dir_ / "run" / "run.json").find("\"parameters\""), std::string::npos);
}

}  // namespace
}  // namespace ink
