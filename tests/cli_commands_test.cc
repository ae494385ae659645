// ink sample, info, convert and export as programs, and what all commands share.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ink/format/model_io.h"
#include "tests/cli_process.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

using Words = std::vector<std::string>;

class CliCommands : public Cli {
 protected:
  static constexpr Gpt2Config kConfig = {.context = 16, .vocab = 256, .layers = 2, .heads = 2, .channels = 16};

  // A model folder; without a tokenizer the vocabulary is what tells one.
  fs::path write_model(const std::string& name, const Gpt2Config& config = kConfig,
                       const std::shared_ptr<const Tokenizer>& tokenizer = make_byte_tokenizer()) {
    make_directories(dir_ / name);
    ThreadPool pool(1);
    const auto ops = make_ops("ref", pool);
    save_huggingface(dir_ / name, *make_model(*ops, {}, config));
    if (tokenizer != nullptr) tokenizer->save(dir_ / name);
    return dir_ / name;
  }

  void train_small(const std::string& out, const Words& more = {}) {
    write_file(dir_ / "text.txt", small_text(500));
    ok(Words{"train", "--data", "text.txt", "--out", out, "--layers", "1", "--heads", "2", "--channels", "8",
             "--context", "16", "--batch", "2", "--steps", "3", "--sample-every", "0"} +
       more);
  }

  std::string bytes(const fs::path& name) { return read_file(dir_ / name); }
};

// What all commands share.

TEST_F(CliCommands, HelpAndVersionExit0) {
  const std::string help = ok({"--help"});
  for (const char* command : {"train", "sample", "data", "tokenizer", "convert", "export", "info", "bench"}) {
    EXPECT_NE(help.find(command), std::string::npos) << command;
    EXPECT_NE(ok({command, "--help"}).find("--help"), std::string::npos) << command;
  }
  for (const Words& words : {Words{"data", "get"},
                             {"data", "prepare"},
                             {"data", "info"},
                             {"tokenizer", "encode"},
                             {"tokenizer", "decode"},
                             {"tokenizer", "info"},
                             {"bench", "ops"},
                             {"bench", "train"},
                             {"bench", "all"}}) {
    EXPECT_NE(ok(words + Words{"--help"}).find("--help"), std::string::npos);
  }
  EXPECT_NE(ok({"train", "-h"}).find("--layers"), std::string::npos);
  EXPECT_EQ(ok({"--version"}).substr(0, 4), "ink ");
}

TEST_F(CliCommands, WithoutACommandIsBadUsage) {
  fails(2, {}, {"--help"});
  fails(2, {"trian"}, {"trian", "did you mean train"});
  fails(2, {"--trian"}, {"--trian"});
  fails(2, {"data"}, {"--help"});
  fails(2, {"data", "prepaer"}, {"prepaer", "did you mean prepare"});
  fails(2, {"info", "--verbos"}, {"--verbos"});
  fails(2, {"sample", "--modle", "x"}, {"--modle", "did you mean --model"});
  fails(2, {"sample"}, {"--model"});
  fails(2, {"convert", "one"}, {"out"});
  fails(2, {"convert", "one", "two", "three"}, {"three"});
  fails(2, {"export", "one"}, {"out"});
}

TEST_F(CliCommands, AFullStandardOutputIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  write_model("model");
  for (const Words& words : {Words{"info"}, {"info", "model"}, {"sample", "--model", "model"}}) {
    Program program(dir_.path());
    program.standard_out = "/dev/full";
    program.start(words);
    const Output output = program.wait();
    EXPECT_EQ(output.status, 1) << joined(words);
    expect_one_line_error(output.err);
  }
}

// ink bench.

TEST_F(CliCommands, BenchPrintsTablesAndWritesJson) {
  const Words small = {"--model", "char", "--batch", "1", "--seq-len", "8"};
  const std::string ops = ok(Words{"bench", "ops", "--device", "cpu,ref", "--ops", "gelu,adamw", "--repeat", "1",
                                   "--seconds", "0", "--json", "ops.json"} +
                             small);
  EXPECT_NE(ops.find("| gelu"), std::string::npos) << ops;
  EXPECT_EQ(nlohmann::json::parse(bytes("ops.json"))["ops"]["cases"][0]["devices"].size(), 2u);
  const std::string train =
      ok(Words{"bench", "train", "--steps", "1", "--threads", "1", "--recompute", "block", "--json", "-"} + small);
  const nlohmann::json json = nlohmann::json::parse(train);
  EXPECT_EQ(json["train"]["recompute"], "block");
  EXPECT_EQ(json["train"]["threads"], 1);
  EXPECT_FALSE(json.contains("ops"));
  const nlohmann::json all = nlohmann::json::parse(
      ok(Words{"bench", "all", "--steps", "1", "--ops", "fill", "--repeat", "1", "--seconds", "0", "--json", "-"} +
         small));
  EXPECT_TRUE(all.contains("ops") && all.contains("train"));
}

TEST_F(CliCommands, BenchTakesAnInstructionSet) {
  const Words train = {"bench", "train", "--steps", "1", "--model", "char", "--batch", "1", "--seq-len", "8"};
  const std::string info = ok({"info"});
  const size_t begin = info.find("--isa"), end = info.find('\n', begin);
  ASSERT_NE(begin, std::string::npos);
  const std::string worst = info.substr(info.rfind(' ', end) + 1, end - info.rfind(' ', end) - 1);
  const nlohmann::json json = nlohmann::json::parse(ok(train + Words{"--isa", worst, "--json", "-"}));
  std::string used = json["machine"]["devices"][0]["description"];
  std::transform(used.begin(), used.end(), used.begin(), [](unsigned char c) { return std::tolower(c); });
  EXPECT_TRUE(used.starts_with(worst + ",")) << used;
  fails(2, train + Words{"--isa", "avx99"}, {"'avx99'", "known: ", worst});
}

TEST_F(CliCommands, BenchOptionsOutOfRangeAreBadUsage) {
  fails(2, {"bench"}, {"--help"});
  fails(2, {"bench", "opps"}, {"opps", "did you mean ops"});
  fails(2, {"bench", "ops", "--ops", "gem"}, {"'gem'", "did you mean 'gemm'"});
  fails(2, {"bench", "ops", "--device", "cpu,reff"}, {"'reff'", "did you mean 'ref'"});
  fails(2, {"bench", "ops", "--repeat", "0"}, {"--repeat"});
  fails(2, {"bench", "ops", "--seconds", ""}, {"--seconds"});
  fails(2, {"bench", "ops", "--model", "gtp2"}, {"'gtp2'"});
  fails(2, {"bench", "train", "--device", "reff"}, {"'reff'"});
  fails(2, {"bench", "train", "--model", "char", "--seq-len", "65"}, {"--seq-len 65", "64"});
  fails(2, {"bench", "train", "--batch", "0"}, {"--batch 0"});
  fails(2, {"bench", "train", "--steps", "0"}, {"--steps"});
  fails(2, {"bench", "train", "--recompute", "all"}, {"--recompute"});
  fails(2, {"bench", "train", "--scale"}, {"--scale"});
  fails(1, {"bench", "train", "--steps", "1", "--model", "char", "--json", "no/such/folder.json"}, {"no/such"});
}

// ink sample.

TEST_F(CliCommands, TheSameSeedGivesTheSameText) {
  write_model("model");
  const Words sample = {"sample", "--model", "model", "--prompt", "ab", "--max-tokens", "40"};
  const std::string text = ok(sample + Words{"--seed", "5"});
  EXPECT_TRUE(text.starts_with("ab"));
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(text.size(), 2u + 40 + 1);  // one byte a token
  EXPECT_EQ(ok(sample + Words{"--seed", "5"}), text);
  EXPECT_EQ(ok(sample + Words{"--seed", "5", "--threads", "1"}), text);
  EXPECT_NE(ok(sample + Words{"--seed", "6"}), text);
  // Several samples are those of the seeds that follow.
  EXPECT_EQ(ok(sample + Words{"--seed", "4", "--samples", "3"}),
            ok(sample + Words{"--seed", "4"}) + "---\n" + text + "---\n" + ok(sample + Words{"--seed", "6"}));
  // Greedy takes no seed.
  const Words greedy = sample + Words{"--temperature", "0"};
  EXPECT_EQ(ok(greedy + Words{"--seed", "1"}), ok(greedy + Words{"--seed", "2"}));
  EXPECT_EQ(ok(sample + Words{"--top-k", "1"}), ok(greedy));
}

TEST_F(CliCommands, PromptsComeFromManyPlaces) {
  write_model("model");
  const Words sample = {"sample", "--model", "model", "--max-tokens", "20"};
  const std::string expected = ok(sample + Words{"--prompt", "a prompt"});
  write_file(dir_ / "prompt.txt", "a prompt");
  EXPECT_EQ(ok(sample + Words{"--prompt-file", "prompt.txt"}), expected);
  EXPECT_EQ(ok(sample + Words{"--prompt-file", "-"}, "a prompt"), expected);
  EXPECT_EQ(ok(sample), ok(sample + Words{"--prompt", ""}));
  const std::string longer(200, 'x');  // than the context
  EXPECT_TRUE(ok(sample + Words{"--prompt", longer}).starts_with(longer));
  fails(2, sample + Words{"--prompt", "a", "--prompt-file", "prompt.txt"}, {"--prompt"});
  fails(1, sample + Words{"--prompt-file", "none.txt"}, {"none.txt"});
  EXPECT_EQ(ok({"sample", "--model", "model", "--prompt", "abc", "--max-tokens", "0"}), "abc\n");
}

TEST_F(CliCommands, ATrainedRunIsSampled) {
  train_small("run");
  const std::string text = ok({"sample", "--model", "run", "--prompt", "the ", "--max-tokens", "30"});
  EXPECT_TRUE(text.starts_with("the "));
  EXPECT_EQ(text, ok({"sample", "--model", "run/step_00000003", "--prompt", "the ", "--max-tokens", "30"}));
  fails(1, {"sample", "--model", "run", "--prompt", "Z"}, {"'Z'"});  // a character that the text does not hold
}

TEST_F(CliCommands, SamplingOptionsOutOfRangeAreBadUsage) {
  write_model("model");
  for (const Words& option : {Words{"--temperature", "-0.5"},
                              {"--temperature", "nan"},
                              {"--top-k", "-1"},
                              {"--top-p", "0"},
                              {"--top-p", "1.5"},
                              {"--samples", "0"},
                              {"--max-tokens", "-1"},
                              {"--seed", "-1"},
                              {"--seed", "x"},
                              {"--top-k", ""},
                              {"--seed", ""},
                              {"--threads", ""},
                              {"--threads", "-2"},
                              {"--device", "gpu9"},
                              {"--tokenizer", "bite"}}) {
    fails(2, Words{"sample", "--model", "model"} + option, {option[0].substr(2)});
  }
  const Output output = ink({"sample", "--model", "model", "--prompt", "abc", "--top-p", "7"});
  EXPECT_EQ(output.out, "");  // not even the prompt
}

TEST_F(CliCommands, ModelsThatCannotBeSampledAreNamed) {
  fails(1, {"sample", "--model", "none"}, {"none"});
  fails(1, {"sample", "--model", "."}, {"."});
  write_model("bare", kConfig, nullptr);
  fails(1, {"sample", "--model", "bare"}, {"bare", "--tokenizer"});
  EXPECT_TRUE(ok({"sample", "--model", "bare", "--tokenizer", "byte", "--prompt", "a", "--max-tokens", "3"}).size() ==
              5);
  fails(1, {"sample", "--model", "bare", "--tokenizer", "gpt2"}, {"50257", "256"});
  const fs::path weights = write_model("cut") / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) / 2);
  fails(1, {"sample", "--model", "cut"}, {"cut/model.safetensors"});
}

// ink info.

TEST_F(CliCommands, InfoWithoutAPathDescribesTheProgram) {
  const std::string info = ok({"info"});
  for (const char* part :
       {"ink ", "cpu", "ref", "gpt2-xl", "char", "byte", "adamw", "sgd", "cosine", "wsd", "tinyshakespeare"}) {
    EXPECT_NE(info.find(part), std::string::npos) << part << " is not in " << info;
  }
}

TEST_F(CliCommands, InfoTellsWhatAPathIs) {
  train_small("run", {"--checkpoint-every", "2"});
  write_model("model");
  ok({"convert", "model", "model.bin"});
  ok({"convert", "model", "half.bin", "--bf16"});
  make_byte_tokenizer()->save(dir_.path());
  write_file(dir_ / "empty", "");
  write_file(dir_ / "binary", std::string(100, '\0'));
  write_file(dir_ / "net.onnx", "\x08\x08x");
  make_directories(dir_ / "folder");
  const auto expect_info = [&](const std::string& path, std::initializer_list<std::string_view> parts) {
    const std::string info = ok({"info", path});
    EXPECT_TRUE(info.starts_with(path + ": ")) << info;
    for (const std::string_view part : parts) {
      EXPECT_NE(info.find(part), std::string::npos) << "'" << part << "' is not in: " << info;
    }
  };
  expect_info("run", {"run folder, 2 checkpoints", "step 3", "1 layers, 2 heads, 8 channels", "validation loss"});
  expect_info("run/step_00000002", {"model folder", "char tokenizer", "checkpoint of a training run"});
  expect_info("run/data", {"2 token shards"});
  expect_info("run/data/train_000000.bin", {"token shard, 450 tokens"});
  expect_info("run/step_00000003/model.safetensors", {"safetensors", "16 tensors"});
  expect_info("model", {"model folder", "vocabulary 256", "byte tokenizer of 256 tokens"});
  expect_info("model/tokenizer.json", {"byte tokenizer"});
  expect_info("model.bin", {"llm.c model", "2 layers"});
  expect_info("half.bin", {"llm.c model", "2 layers"});
  expect_info("text.txt", {"text, 500 bytes"});
  expect_info("empty", {"empty"});
  expect_info("binary", {"no kind that ink knows"});
  expect_info("net.onnx", {"ONNX file, 3 B", "ink export"});
  expect_info("folder", {"folder"});
  const std::string both = ok({"info", "model", "text.txt"});
  EXPECT_NE(both.find("\ntext.txt: "), std::string::npos) << both;
  fails(1, {"info", "none"}, {"none"});
}

TEST_F(CliCommands, InfoNamesWhatIsDamaged) {
  write_model("model");
  ok({"convert", "model", "model.bin"});
  fs::resize_file(dir_ / "model.bin", 5000);
  fails(1, {"info", "model.bin"}, {"model.bin", "5000"});
  write_shard(dir_ / "shard.bin", std::vector<int32_t>(100, 1));
  fs::resize_file(dir_ / "shard.bin", 1200);
  fails(1, {"info", "shard.bin"}, {"shard.bin", "1200"});
  fs::resize_file(dir_ / "model/model.safetensors", 100);
  fails(1, {"info", "model/model.safetensors"}, {"model.safetensors"});
  write_file(dir_ / "model/config.json", "{");
  fails(1, {"info", "model"}, {"config.json"});
}

// ink convert.

TEST_F(CliCommands, ConvertingThereAndBackGivesTheSameBytes) {
  write_model("model");
  const std::string said = ok({"convert", "model", "model.bin"});
  EXPECT_NE(said.find("version 3"), std::string::npos) << said;
  ok({"convert", "model.bin", "back"});
  EXPECT_TRUE(bytes("model/model.safetensors") == bytes("back/model.safetensors"));
  EXPECT_EQ(bytes("model/config.json"), bytes("back/config.json"));
  EXPECT_TRUE(bytes("model/tokenizer.json") == bytes("back/tokenizer.json"));  // from model_tokenizer.bin
  ok({"convert", "back", "again.bin"});
  EXPECT_TRUE(bytes("model.bin") == bytes("again.bin"));
  // From folder to folder the tokenizer goes along.
  ok({"convert", "model", "copy"});
  for (const std::string& name : names_in(dir_ / "model")) {
    EXPECT_TRUE(bytes(fs::path("model") / name) == bytes(fs::path("copy") / name)) << name;
  }
}

TEST_F(CliCommands, Bfloat16IsRoundedOnce) {
  write_model("model");
  EXPECT_NE(ok({"convert", "model", "half.bin", "--bf16"}).find("version 5"), std::string::npos);
  EXPECT_LT(fs::file_size(dir_ / "half.bin"), fs::file_size(dir_ / "model/model.safetensors"));
  ok({"convert", "half.bin", "rounded"});
  ok({"convert", "rounded", "again.bin", "--bf16"});
  EXPECT_TRUE(bytes("half.bin") == bytes("again.bin"));
  EXPECT_FALSE(bytes("rounded/model.safetensors") == bytes("model/model.safetensors"));
  ok({"convert", "model", "folder", "--dtype", "bf16"});
  EXPECT_TRUE(bytes("rounded/model.safetensors") == bytes("folder/model.safetensors"));
  fails(2, {"convert", "model", "third", "--dtype", "f8"}, {"f8"});
  fails(2, {"convert", "model", "third", "--dtype", "bf16", "--bf16"}, {"--bf16"});
  EXPECT_FALSE(fs::exists(dir_ / "third"));
}

TEST_F(CliCommands, AQuantizedModelGeneratesText) {
  write_model("model");
  const std::string said = ok({"quantize", "model", "small.gguf", "--type", "q8_0", "--embedding-type", "f32"});
  EXPECT_NE(said.find("total"), std::string::npos) << said;
  EXPECT_NE(ok({"info", "small.gguf"}).find("small.gguf: GGUF, "), std::string::npos);
  EXPECT_TRUE(ok({"sample", "--model", "small.gguf", "--prompt", "the ", "--max-tokens", "3"}).starts_with("the "));
  fails(2, {"quantize", "model", "other.gguf"}, {"--type"});
  fails(2, {"quantize", "model", "other.gguf", "--type", "q5_0"}, {"unknown type 'q5_0'"});
  fails(2, {"quantize", "model", "folder", "--type", "q8_0"}, {"NAME.gguf"});
}

TEST_F(CliCommands, ATokenizerIsSavedAsLlmcsFile) {
  ok({"tokenizer", "save", "--tokenizer", "byte", "bytes.bin"});
  ok({"tokenizer", "save", "--tokenizer", "bytes.bin", "folder"});
  EXPECT_TRUE(fs::exists(dir_ / "folder/tokenizer.json"));
  EXPECT_NE(ok({"info", "bytes.bin"}).find("llm.c tokenizer: byte of 256 tokens"), std::string::npos);
  fails(1, {"tokenizer", "save", "--tokenizer", "byte", "bytes.bin"}, {"bytes.bin", "exists already"});
}

TEST_F(CliCommands, ARunIsConverted) {
  train_small("run");
  ok({"convert", "run", "model.bin"});
  ok({"convert", "run", "exported"});
  EXPECT_TRUE(bytes("run/step_00000003/model.safetensors") == bytes("exported/model.safetensors"));
  EXPECT_TRUE(fs::exists(dir_ / "exported/tokenizer.json"));
  EXPECT_FALSE(fs::exists(dir_ / "exported/trainer.json"));
}

TEST_F(CliCommands, ConvertOverwritesNothing) {
  write_model("model");
  make_directories(dir_ / "taken");
  write_file(dir_ / "taken.bin", "mine");
  fails(1, {"convert", "model", "taken"}, {"taken", "exists"});
  fails(1, {"convert", "model", "taken.bin"}, {"taken.bin", "exists"});
  EXPECT_EQ(bytes("taken.bin"), "mine");
  fails(1, {"convert", "model", "taken.bin/below"}, {"taken.bin"});
  fails(1, {"convert", "none", "out"}, {"none"});
  fails(1, {"convert", "taken.bin", "out"}, {"taken.bin"});
  EXPECT_FALSE(fs::exists(dir_ / "out"));
}

TEST_F(CliCommands, AFullDiskLeavesNothingOfAConversion) {
  write_model("model");
  for (const char* out : {"out.bin", "out"}) {
    Program program(dir_.path());
    program.file_limit = 10000;
    program.start({"convert", "model", out});
    const Output output = program.wait();
    EXPECT_EQ(output.status, 1);
    expect_one_line_error(output.err);
    EXPECT_NE(output.err.find("out"), std::string::npos) << output.err;
    for (const std::string& name : names_in(dir_.path())) {
      EXPECT_TRUE(name == ".out" || name.find("out") == std::string::npos) << name << " is left";
    }
  }
}

// ink export.

TEST_F(CliCommands, ExportWantsAFormatThatItKnows) {
  write_model("model");
  for (const char* out : {"x", "x.gguf", "folder/"}) fails(2, {"export", "model", out}, {out, "--onnx", ".onnx"});
  fails(2, {"export", "model", "", "--onnx"}, {"out is empty"});
  fails(2, {"export", "model", "x.onnx", "--dtype", "bf16"}, {"--dtype", "bf16"});
  fails(2, {"export", "model", "x.onnx", "--kv-cahce"}, {"--kv-cahce", "did you mean --kv-cache"});
  fails(2, {"convert", "model", "x.onnx", "--dtype", "bf16"}, {"bf16", "ONNX"});
  fails(1, {"export", "none", "x.onnx"}, {"none", "no such file"});
  EXPECT_FALSE(fs::exists(dir_ / "x.onnx"));
}

TEST_F(CliCommands, ExportWritesAFileOrAFolderAndOverwritesNothing) {
  write_model("model");
  if (ok({"info"}).find("built without the ONNX library") != std::string::npos) {
    fails(1, {"export", "model", "x.onnx"}, {"x.onnx", "libonnx-dev"});
    fails(1, {"export", "model", "folder", "--onnx"}, {"model.onnx", "libonnx-dev"});
    EXPECT_FALSE(fs::exists(dir_ / "folder"));
    return;
  }
  ok({"export", "model", "x.onnx"});
  ok({"convert", "model", "converted.onnx"});
  EXPECT_EQ(bytes("x.onnx"), bytes("converted.onnx"));

  // A name may have what the line's own parts are divided by.
  const std::string said = ok({"export", "model", "a: b/c/", "--onnx"});
  EXPECT_TRUE(said.starts_with("wrote a: b/c/: folder with model.onnx and config.json, byte tokenizer; ONNX model"));
  EXPECT_EQ(bytes("a: b/c/model.onnx"), bytes("x.onnx"));
  EXPECT_EQ(bytes("a: b/c/tokenizer.json"), bytes("model/tokenizer.json"));
  ok({"export", "model", "beside", "--onnx", "--external-data", "--kv-cache", "--dtype", "f16"});
  EXPECT_TRUE(fs::exists(dir_ / "beside/model.onnx.data"));

  write_file(dir_ / "y.onnx.data", "mine");
  make_directories(dir_ / "z.onnx");
  for (const char* out : {"x.onnx", "z.onnx", "model", "model/", "."}) {
    fails(1, {"export", "model", out, "--onnx"}, {out, "exists already"});
  }
  fails(1, {"export", "model", "y.onnx"}, {"y.onnx.data", "exists already"});
  fails(1, {"export", "model", "x.onnx/below.onnx"}, {"below.onnx"});
  EXPECT_EQ(bytes("y.onnx.data"), "mine");
  // What is written is not read.
  fails(1, {"export", "x.onnx", "again.onnx"}, {"x.onnx"});
}

}  // namespace
}  // namespace ink
