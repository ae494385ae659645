// ink bench infer: what it measures of which weights, and the forms its figures take.
#include "ink/bench/bench_infer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/text/tokenizer.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink::bench {
namespace {

const auto kQuiet = [](const std::string&) {};

// The model of 0.8M parameters; its context is 64.
InferBenchOptions small() {
  return {.model = "char", .types = {DType::f32, DType::q8_0, DType::q4_0}, .prompt = 20, .decode = 3, .rounds = 2};
}

TEST(BenchInfer, MeasuresEveryTypeFromAFileOfItsOwn) {
  ThreadPool pool(2);
  const InferReport r = bench_infer(small(), pool, kQuiet);
  EXPECT_EQ(r.prompt_tokens, 20);
  EXPECT_EQ(r.decode_tokens, 3);
  EXPECT_EQ(r.perplexity_tokens, 0);
  ASSERT_EQ(r.types.size(), 3u);
  const double layers = 4 * 12 * 128 * 128, embedding = 65 * 128;  // weights of the matrices
  const double expected[] = {4 * (layers + embedding), 34.0 / 32 * (layers + embedding),
                             18.0 / 32 * layers + 34.0 / 32 * embedding};
  for (size_t i = 0; i < 3; ++i) {
    const InferResult& t = r.types[i];
    EXPECT_EQ(t.type, name_of(small().types[i]));
    EXPECT_EQ(t.prompt.runs, 2u);
    EXPECT_EQ(t.decode.runs, 2u);
    EXPECT_GT(t.prompt.median, 0);
    EXPECT_GT(t.decode.median, 0);
    EXPECT_GT(t.first_token, 0);
    // Norms, biases and a row of the position embedding come on top: 4·(13·128·4 + 2·128) + 128 floats at most.
    EXPECT_GE(static_cast<double>(t.step_bytes), expected[i]);
    EXPECT_LE(static_cast<double>(t.step_bytes), expected[i] + 4 * 9000);
    EXPECT_GT(t.file_bytes, static_cast<size_t>(expected[i]));
    EXPECT_GT(t.prompt_flops, 2 * 20 * layers);
  }
}

TEST(BenchInfer, TakesAFileAsItIsAndItsPerplexity) {
  TempDir dir;
  ThreadPool pool(1);
  const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
  const Gpt2Config config = {.context = 32, .vocab = 256, .layers = 1, .heads = 2, .channels = 32};
  const auto model = make_model(*ops, {}, config);
  const auto tokenizer = make_byte_tokenizer();
  save_gguf(dir / "m.gguf", *model_source(*model), {.matrices = DType::f16, .embedding = DType::f16}, tokenizer.get());
  std::string text;
  for (const int32_t id : random_ids(100, 256, 3)) text += static_cast<char>(id);
  write_file(dir / "text.bin", text);
  InferBenchOptions o = {.model = dir / "m.gguf",
                         .types = {},
                         .prompt = 30,
                         .decode = 5,
                         .sequences = 3,
                         .rounds = 1,
                         .data = dir / "text.bin",
                         .tokens = 70};
  const InferReport r = bench_infer(o, pool, kQuiet);
  ASSERT_EQ(r.types.size(), 1u);
  EXPECT_EQ(r.types[0].type, "f16");
  EXPECT_EQ(r.types[0].file_bytes, fs::file_size(dir / "m.gguf"));
  EXPECT_EQ(r.perplexity_tokens, 70);
  EXPECT_GT(r.types[0].perplexity, 1);
  const auto json = nlohmann::json::parse(to_json({.machine = {}, .ops = {}, .train = {}, .infer = r}));
  EXPECT_EQ(json["infer"]["types"][0]["type"], "f16");
  EXPECT_EQ(json["infer"]["sequences"], 3);
  EXPECT_GT(json["infer"]["types"][0]["decode_tokens_per_s"].get<double>(), 0);
  const std::string markdown = to_markdown({.machine = {}, .ops = {}, .train = {}, .infer = r});
  for (const char* word : {"Inference", "f16", "in 3 sequences", "Perplexity over 70 tokens", "+0.000%"}) {
    EXPECT_NE(markdown.find(word), std::string::npos) << word << "\n" << markdown;
  }
  o.prompt = 33;
  expect_error([&] { bench_infer(o, pool, kQuiet); }, {"prompts of 33", "context of 32"});
}

TEST(BenchInfer, RefusesWhatIsNoModel) {
  ThreadPool pool(1);
  InferBenchOptions o = small();
  o.model = "gpt9";
  EXPECT_THROW(bench_infer(o, pool, kQuiet), UsageError);
  o.model = "/";
  EXPECT_THROW(bench_infer(o, pool, kQuiet), Error);
  o = small();
  o.data = "/none";
  expect_error([&] { bench_infer(o, pool, kQuiet); }, {"no tokenizer"});  // of a size alone none is known
}

}  // namespace
}  // namespace ink::bench
