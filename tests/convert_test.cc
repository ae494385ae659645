// train: models from format to format without a bit lost, and what is said about what was.
#include "ink/train/convert.h"

#include <gtest/gtest.h>

#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/text/vocabulary.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

constexpr Gpt2Config kModel = {.context = 12, .vocab = 300, .layers = 2, .heads = 2, .channels = 32};

class Convert : public ::testing::Test {
 protected:
  // A Hugging Face folder with a tokenizer, unless that is null.
  void write_model(const fs::path& name, DType dtype, const Tokenizer* tokenizer, Gpt2Config config = kModel) {
    make_directories(dir_ / name);
    save_huggingface(dir_ / name, *model_source(*make_model(*ops_, {}, config)), dtype, tokenizer);
  }
  std::string convert(const fs::path& in, const fs::path& out, std::optional<DType> dtype = {}) {
    return convert_model(dir_ / in, dir_ / out, dtype);
  }
  void expect_same_folder(const fs::path& a, const fs::path& b) {
    for (const char* name : {"config.json", "model.safetensors"}) expect_same(a / name, b / name);
    EXPECT_EQ(fs::exists(dir_ / a / "tokenizer.json"), fs::exists(dir_ / b / "tokenizer.json"));
    if (fs::exists(dir_ / a / "tokenizer.json")) expect_same(a / "tokenizer.json", b / "tokenizer.json");
  }
  void expect_same(const fs::path& a, const fs::path& b) {
    EXPECT_TRUE(read_file(dir_ / a) == read_file(dir_ / b)) << a << " and " << b;
  }
  void expect_said(const std::string& said, std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) EXPECT_NE(said.find(text), std::string::npos) << text << " in " << said;
  }

  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("ref", pool_);
  TempDir dir_;
};

TEST_F(Convert, HuggingFaceAndLlmc) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::string type(name_of(dtype));
    write_model("a" + type, dtype, make_char_tokenizer("chars \xc3\xa9").get());
    expect_said(convert("a" + type, "b" + type + ".bin"),
                {"read", "Hugging Face model folder, " + type, "llm.c model, version", type, "char tokenizer beside"});
    convert("b" + type + ".bin", "c" + type);
    expect_same_folder("a" + type, "c" + type);
    convert("c" + type, "d" + type + ".bin");
    expect_same("b" + type + ".bin", "d" + type + ".bin");
  }
  write_model("half", DType::f16, nullptr);  // llm.c has no f16: nothing is lost in f32
  expect_said(convert("half", "half.bin"), {"version 3, f32", "no tokenizer"});
  convert("half.bin", "half-again", DType::f16);
  expect_same_folder("half", "half-again");
}

TEST_F(Convert, HuggingFaceAndGguf) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const bool tied : {true, false}) {
      const std::string name = fmt::format("{}{}", name_of(dtype), tied);
      Gpt2Config config = kModel;
      config.tied = tied;
      write_model("a" + name, dtype, make_byte_tokenizer().get(), config);
      const std::string said = convert("a" + name, "b" + name + ".gguf");
      expect_said(said, {fmt::format("GGUF, {}", name_of(dtype)), "byte tokenizer"});
      EXPECT_EQ(said.find("rounded"), std::string::npos);
      convert("b" + name + ".gguf", "c" + name);
      expect_same_folder("a" + name, "c" + name);
      convert("b" + name + ".gguf", "d" + name + ".gguf");
      expect_same("b" + name + ".gguf", "d" + name + ".gguf");
    }
  }
}

TEST_F(Convert, LlmcAndGguf) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::string type(name_of(dtype));
    write_model("hf" + type, dtype, make_byte_tokenizer().get());
    convert("hf" + type, "a" + type + ".bin");
    convert("a" + type + ".bin", "b" + type + ".gguf");
    convert("b" + type + ".gguf", "c" + type + ".bin");
    expect_same("a" + type + ".bin", "c" + type + ".bin");
    expect_same("a" + type + "_tokenizer.bin", "c" + type + "_tokenizer.bin");
  }
}

TEST_F(Convert, SaysWhatIsLost) {
  write_model("a", DType::f32, nullptr);
  expect_said(convert("a", "a.bin", DType::bf16), {"version 5, bf16", "values rounded to bf16"});
  expect_said(convert("a", "a.gguf", DType::f16), {"GGUF, f16", "values rounded to f16", "no tokenizer known"});
  expect_said(convert("a", "b", DType::f16), {"folder, f16", "values rounded to f16"});
  quantize_model(dir_ / "a", dir_ / "q.gguf", {.type = DType::q8_0, .embedding = {}});
  expect_said(convert("q.gguf", "q"), {"GGUF, q8_0; wrote", "blocks widened"});
}

TEST_F(Convert, Refuses) {
  write_model("a", DType::f32, nullptr);
  Gpt2Config config = kModel;
  config.tied = false;
  write_model("untied", DType::f32, nullptr, config);
  expect_error([&] { convert("absent", "x"); }, {"absent", "no such file"});
  expect_error([&] { convert("a", "untied"); }, {"untied", "exists already"});
  expect_error([&] { convert("a", "a.bin", DType::f16); }, {"f16", "f32 or bf16"});
  expect_error([&] { convert("a", "a.gguf", DType::q8_0); }, {"q8_0", "ink quantize"});
  expect_error([&] { convert("untied", "u.bin"); }, {"u.bin", "lm_head.weight"});
  write_file(dir_ / "x_tokenizer.bin", "");
  make_byte_tokenizer()->save(dir_ / "a");
  expect_error([&] { convert("a", "x.bin"); }, {"x_tokenizer.bin", "exists already"});
  expect_error([&] { dtype_from_name("q8"); }, {"unknown type 'q8'", "q8_0"});
  EXPECT_FALSE(fs::exists(dir_ / "x.bin"));
}

TEST_F(Convert, ATokenizerFileThatIsTheSameIsNotInTheWay) {
  write_model("a", DType::f32, nullptr);
  make_byte_tokenizer()->save(dir_ / "a");
  save_llmc_tokenizer(*make_byte_tokenizer(), dir_ / "x_tokenizer.bin");  // a run that was killed may leave it
  convert("a", "x.bin");
  EXPECT_EQ(open_model(dir_ / "x.bin")->tokenizer()->name(), "byte");
  Gpt2Config config = kModel;
  config.tied = false;
  write_model("untied", DType::f32, nullptr, config);
  make_byte_tokenizer()->save(dir_ / "untied");
  fs::rename(dir_ / "x_tokenizer.bin", dir_ / "u_tokenizer.bin");
  expect_error([&] { convert("untied", "u.bin"); }, {"u.bin", "lm_head.weight"});
  EXPECT_TRUE(fs::exists(dir_ / "u_tokenizer.bin")) << "it was there before";
}

TEST_F(Convert, QuantizesByClass) {
  write_model("a", DType::f32, nullptr);
  const auto quantize = [&](const char* out, DType type, std::optional<DType> embedding = {}) {
    return quantize_model(dir_ / "a", dir_ / out, {.type = type, .embedding = embedding});
  };
  const auto types = [&](const char* file) {
    const auto source = open_model(dir_ / file);
    return std::pair(source->tensor(gpt2_schema()[0], 0).dtype, matrix_type(*source));
  };
  expect_said(quantize("q4.gguf", DType::q4_0),
              {"token embedding      q8_0", "layers' matrices     q4_0", "vectors, positions   f32", "total", "->"});
  EXPECT_EQ(types("q4.gguf"), std::pair(DType::q8_0, DType::q4_0));
  quantize("q4f16.gguf", DType::q4_0, DType::f16);
  EXPECT_EQ(types("q4f16.gguf"), std::pair(DType::f16, DType::q4_0));
  quantize("q8.gguf", DType::q8_0);
  EXPECT_EQ(types("q8.gguf"), std::pair(DType::q8_0, DType::q8_0));
  expect_said(quantize("folder", DType::bf16), {"Hugging Face model folder, bf16", "rounded"});
  expect_error([&] { quantize("q8", DType::q8_0); }, {"q8", "NAME.gguf"});
  expect_error([&] { quantize("mixed", DType::f16, DType::f32); }, {"mixed", "NAME.gguf"});
  // Once coarse, a copy keeps its blocks.
  convert_model(dir_ / "q4.gguf", dir_ / "copy.gguf", {});
  expect_same("q4.gguf", "copy.gguf");
  write_model("odd", DType::f32, nullptr, kTiny);
  expect_said(quantize_model(dir_ / "odd", dir_ / "odd.gguf", {.type = DType::q8_0, .embedding = {}}),
              {"f16", "no multiple of 32"});
}

TEST_F(Convert, LlmcTokenizersGoThereAndBack) {
  const std::string text = "abc \xc3\xa9 42's";
  const auto gpt2 = make_gpt2_tokenizer();
  for (const auto& tokenizer : {gpt2, make_byte_tokenizer(), make_char_tokenizer(text)}) {
    save_llmc_tokenizer(*tokenizer, dir_ / "t.bin");
    const auto back = load_tokenizer(dir_ / "t.bin");
    EXPECT_EQ(describe(*back), describe(*tokenizer));
    std::vector<int32_t> ids, expected;
    back->encode(text, ids);
    tokenizer->encode(text, expected);
    EXPECT_EQ(ids, expected);
  }
  save_llmc_tokenizer(*make_byte_tokenizer(), dir_ / "t.bin");
  const std::string good = read_file(dir_ / "t.bin");
  const auto refuse = [&](size_t word, uint32_t value, std::initializer_list<std::string_view> texts) {
    std::string bad = good;
    bad.replace(word * 4, 4, reinterpret_cast<const char*>(&value), 4);
    write_file(dir_ / "t.bin", bad);
    expect_error([&] { load_llmc_tokenizer(dir_ / "t.bin"); }, texts);
  };
  refuse(0, 1, {"not an llm.c tokenizer"});
  refuse(1, 3, {"version 3"});
  refuse(1, 1, {"version 1 holds 50257"});
  refuse(2, 0, {"0 tokens"});
  refuse(2, 255, {"after the last token"});
  refuse(2, 257, {"tokens in"});
  refuse(2, ~0u, {"4294967295 tokens"});
  refuse(3, 256, {"end of text is token 256"});
  refuse(3, 5, {"end of text is token 5 of 256"});
  write_file(dir_ / "t.bin", good.substr(0, good.size() - 1));
  expect_error([&] { load_llmc_tokenizer(dir_ / "t.bin"); }, {"t.bin", "tokens in 511 bytes"});
  write_file(dir_ / "t.bin", good.substr(0, 1000));
  expect_error([&] { load_llmc_tokenizer(dir_ / "t.bin"); }, {"1000 bytes"});
}

}  // namespace
}  // namespace ink
