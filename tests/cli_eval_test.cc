// ink eval, get and data eval as programs.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ink/format/model_io.h"
#include "tests/cli_process.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

using Words = std::vector<std::string>;

class CliEval : public Cli {
 protected:
  CliEval() {
    make_directories(dir_ / "hub/some/tiny");
    ThreadPool pool(1);
    const auto ops = make_ops("ref", pool);
    const Gpt2Config config = {.context = 16, .vocab = 256, .layers = 1, .heads = 2, .channels = 8};
    save_huggingface(model(), *make_model(*ops, {}, config));
    make_byte_tokenizer()->save(model());
    write_file(dir_ / "text.txt", small_text(101));
    write_file(
        dir_ / "q.jsonl",
        "{\"ctx\": \"The sea\", \"endings\": [\"is\", \"was here\"], \"label\": 1}\n"
        "{\"question\": \"A question too long for the context\", \"choices\": [\"a\", \"b\"], \"answer\": \"A\"}\n");
  }
  fs::path model() const { return dir_ / "hub/some/tiny"; }
};

TEST_F(CliEval, TextInWordsAndAsJson) {
  const std::string text = ok({"eval", "hub/some/tiny", "--data", "text.txt", "--threads", "1"});
  EXPECT_NE(text.find("100 in 7 windows"), std::string::npos) << text;
  const nlohmann::json json = nlohmann::json::parse(
      ok({"eval", "--model", "hub/some/tiny", "--data", "text.txt", "--json", "--stride", "4", "--tokens", "50"}));
  const nlohmann::json& loss = json["text"][0];
  EXPECT_EQ(loss["data"], "text.txt");
  EXPECT_EQ(loss["tokens"], 49);
  EXPECT_EQ(loss["windows"], 10);
  EXPECT_NEAR(loss["perplexity"].get<double>(), std::exp(loss["loss"].get<double>()), 1e-9);
  EXPECT_NEAR(loss["bits_per_byte"].get<double>(), loss["loss"].get<double>() / std::log(2.0), 1e-9);
}

TEST_F(CliEval, QuestionsAreFoundByTheirContent) {
  EXPECT_NE(ok({"data", "eval", "q.jsonl", "q.bin", "--tokenizer", "byte"}).find("2 examples in q.bin"),
            std::string::npos);
  EXPECT_NE(ok({"data", "info", "q.bin"}).find("eval file"), std::string::npos);
  EXPECT_EQ(ok({"info", "q.bin"}), "q.bin: eval file, 2 multiple-choice questions\n");
  const nlohmann::json json = nlohmann::json::parse(
      ok({"eval", "hub/some/tiny", "--data", "q.jsonl", "text.txt", "--multiple-choice", "q.bin", "--json"}));
  ASSERT_EQ(json["multiple_choice"].size(), 2u);
  EXPECT_EQ(json["text"].size(), 1u);
  nlohmann::json from_bin = json["multiple_choice"][0], from_text = json["multiple_choice"][1];
  EXPECT_EQ(from_bin["file"], "q.bin");
  for (nlohmann::json* result : {&from_bin, &from_text}) {
    result->erase("file");
    result->erase("seconds");
  }
  EXPECT_EQ(from_bin, from_text);
  EXPECT_EQ(from_bin["examples"], 2);
  EXPECT_EQ(from_bin["cut"], 1);
  const std::string words = ok({"eval", "hub/some/tiny", "--multiple-choice", "q.bin", "--examples", "1"});
  EXPECT_NE(words.find("examples  1"), std::string::npos) << words;
  EXPECT_NE(words.find("acc_norm"), std::string::npos) << words;
}

TEST_F(CliEval, ARunIsEvaluatedOnItsOwnValidationData) {
  write_file(dir_ / "long.txt", small_text(2000));
  ok({"train", "--data", "long.txt", "--out", "run", "--layers", "1", "--heads", "2", "--channels", "8", "--context",
      "16", "--batch", "2", "--steps", "2", "--sample-every", "0"});
  const std::string run = ok({"eval", "run"});
  EXPECT_NE(run.find("run/data (val)"), std::string::npos) << run;
  EXPECT_NE(ok({"eval", "run/step_00000002"}).find("data (val)"), std::string::npos);
}

TEST_F(CliEval, Help) {
  for (const Words& words : {Words{"eval"}, {"get"}, {"data", "eval"}}) {
    EXPECT_NE(ok(words + Words{"--help"}).find("--help"), std::string::npos);
  }
}

TEST_F(CliEval, ErrorsAreOneLine) {
  fails(2, {"eval"}, {"model"});
  fails(2, {"eval", "hub/some/tiny"}, {"--data or --multiple-choice"});
  fails(2, {"eval", "hub/some/tiny", "--data", "text.txt", "--split", "test"}, {"unknown split 'test'"});
  fails(2, {"eval", "hub/some/tiny", "--data", "tinyshakespear"}, {"did you mean"});
  fails(2, {"eval", "hub/some/tiny", "--data", "text.txt", "--stride", "-1"}, {"--stride"});
  fails(1, {"eval", "hub/some/tiny", "--data", "missing.txt"}, {"missing.txt"});
  fails(1, {"eval", "hub/some/tiny", "--data", "text.txt", "--context", "17"}, {"17"});
  fails(1, {"eval", "hub/some/tiny", "--data", "text.txt", "--tokens", "1"}, {"text.txt"});
  fails(1, {"eval", "nothing", "--data", "text.txt"}, {"nothing"});
  write_file(dir_ / "bad.jsonl", "{\"endings\": 1");
  fails(1, {"eval", "hub/some/tiny", "--data", "bad.jsonl"}, {"bad.jsonl, line 1: not valid JSON"});
  fails(1, {"data", "eval", "bad.jsonl", "out.bin"}, {"bad.jsonl, line 1"});
  EXPECT_FALSE(fs::exists(dir_ / "out.bin"));
  fails(1, {"data", "eval", "bad.jsonl", "./bad.jsonl"}, {"./bad.jsonl", "the file to read"});
}

TEST_F(CliEval, GetsAModelFromAMirror) {
  setenv("INK_MIRROR", (dir_ / "hub").c_str(), 1);
  EXPECT_NE(ok({"get", "some/tiny"}).find("tiny: "), std::string::npos);
  EXPECT_NE(ok({"eval", "tiny", "--data", "text.txt"}).find("perplexity"), std::string::npos);
  fails(1, {"get", "some/tiny"}, {"tiny: exists already"});
  fails(2, {"get", "../tiny"}, {"not a model's name"});
  fails(2, {"get"}, {"name"});
  fails(2, {"get", "some/tiny", "other", "--revision", "../x"}, {"--revision"});
  ok({"get", "some/tiny", "other"});
  EXPECT_EQ(read_file(dir_ / "other/model.safetensors"), read_file(model() / "model.safetensors"));
  unsetenv("INK_MIRROR");
}

}  // namespace
}  // namespace ink
