// data: multiple-choice questions, in llm.c's eval files and as JSONL.
#include <gtest/gtest.h>

#include <cstring>

#include "ink/data/eval_file.h"
#include "ink/data/info.h"
#include "tests/data_fixtures.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

// choices.bin is what llm.c's write_evalfile makes of choices.jsonl with tiktoken's gpt2, as its hellaswag.py does.
const fs::path kFixtures = fs::path(INK_SOURCE_DIR) / "tests/fixtures/eval";

std::span<const std::byte> bytes_of_text(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string eval_bytes(std::vector<int32_t> header, const std::vector<uint16_t>& words) {
  header.resize(256);
  std::string bytes(reinterpret_cast<const char*>(header.data()), 1024);
  bytes.append(reinterpret_cast<const char*>(words.data()), 2 * words.size());
  return bytes;
}

std::string refusal(const std::string& bytes) {
  return message_of([&] { parse_eval_file(bytes_of_text(bytes), "q.bin"); });
}

std::string jsonl_refusal(std::string_view text) {
  return message_of([&] { parse_eval_jsonl(text, "q.jsonl", *make_byte_tokenizer()); });
}

// Two completions: 7 8 | 9 and 7 8 | 10 11, the second is right.
const std::vector<uint16_t> kOne = {65535, 26, 0, 1, 2, 2, 7, 8, 1, 9, 2, 10, 11};
const ChoiceExample kOneParsed = {.context = {7, 8}, .completions = {{9}, {10, 11}}, .label = 1};

TEST(EvalFile, JsonlBecomesLlmcsFileByteForByte) {
  TempDir dir;
  const auto gpt2 = make_gpt2_tokenizer();
  const std::vector<ChoiceExample> examples = read_eval_file(kFixtures / "choices.jsonl", gpt2.get());
  write_eval_file(dir / "out.bin", examples);
  EXPECT_EQ(read_file(dir / "out.bin"), read_file(kFixtures / "choices.bin"));
  EXPECT_EQ(read_eval_file(kFixtures / "choices.bin", nullptr), examples);
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_EQ(gpt2->decode(examples[2].context), "The cat");
  EXPECT_EQ(gpt2->decode(examples[2].completions[3]), " slept");
  EXPECT_EQ(examples[2].label, 3);
}

TEST(EvalFile, OneExample) {
  const std::string bytes = eval_bytes({kEvalMagic, 1, 1, 26}, kOne);
  EXPECT_EQ(parse_eval_file(bytes_of_text(bytes), "q"), std::vector<ChoiceExample>{kOneParsed});
  EXPECT_EQ(parse_eval_file(bytes_of_text("x" + bytes).subspan(1), "q").size(), 1u) << "at an odd address";
  TempDir dir;
  write_eval_file(dir / "q.bin", std::vector<ChoiceExample>{kOneParsed});
  EXPECT_EQ(read_file(dir / "q.bin"), bytes);
  EXPECT_TRUE(is_eval_file(bytes_of_text(bytes)));
  EXPECT_FALSE(is_eval_file(bytes_of_text("short")));
  EXPECT_TRUE(contains(describe_data(dir / "q.bin"), "eval file")) << describe_data(dir / "q.bin");
}

TEST(EvalFile, HeadersThatLieAreRefused) {
  const std::string good = eval_bytes({kEvalMagic, 1, 1, 26}, kOne);
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(refusal(good.substr(0, size)), "no error") << size;
  EXPECT_TRUE(contains(refusal(good.substr(0, 1000)), "q.bin: 1000 bytes, too short"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kShardMagic, 1, 1, 26}, kOne)), "magic 20240520, expected 20240522"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 2, 1, 26}, kOne)), "version 2"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, 0, 26}, kOne)), "0 examples, expected 1 to 65535"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, -1, 26}, kOne)), "-1 examples"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, 65536, 26}, kOne)), "65536 examples"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, 60000, 26}, kOne)), "too few for 60000 examples"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, 2, 26}, kOne)), "ends before example 1 of 2"));
  EXPECT_TRUE(contains(refusal(eval_bytes({kEvalMagic, 1, 1, 28}, kOne)), "26 bytes, the header says 28"));
  EXPECT_TRUE(contains(refusal(good + "ab"), "2 bytes after the last example"));
}

TEST(EvalFile, ExamplesThatLieAreRefused) {
  const auto changed = [](size_t at, uint16_t value) {
    std::vector<uint16_t> words = kOne;
    words[at] = value;
    return refusal(eval_bytes({kEvalMagic, 1, 1, 26}, words));
  };
  EXPECT_TRUE(contains(changed(0, 65534), "example 0 starts with 65534"));
  EXPECT_TRUE(contains(changed(1, 28), "says that it has 28 bytes, 26 are left"));
  EXPECT_TRUE(contains(changed(1, 25), "says that it has 25 bytes"));
  EXPECT_TRUE(contains(changed(1, 0), "says that it has 0 bytes"));
  EXPECT_TRUE(contains(changed(1, 24), "a completion of 2 tokens, but 1 are left"));
  EXPECT_TRUE(contains(changed(2, 1), "example 0 has the index 1"));
  EXPECT_TRUE(contains(changed(3, 2), "label 2, but 2 completions"));
  EXPECT_TRUE(contains(changed(4, 3), "ends before its completion"));
  EXPECT_TRUE(contains(changed(4, 65535), "ends before its completion"));
  EXPECT_TRUE(contains(changed(4, 0), "label 1, but 0 completions"));
  EXPECT_TRUE(contains(changed(5, 0), "empty context"));
  EXPECT_TRUE(contains(changed(5, 65535), "a context of 65535 tokens, but 7 are left"));
  EXPECT_TRUE(contains(changed(8, 0), "empty completion"));
  EXPECT_TRUE(contains(changed(10, 1), "2 bytes after its completions"));
}

TEST(EvalFile, WhatTheFormatCannotHoldIsNotWritten) {
  TempDir dir;
  const auto refused = [&](const ChoiceExample& example, size_t copies = 1) {
    const std::vector<ChoiceExample> examples(copies, example);
    const std::string message = message_of([&] { write_eval_file(dir / "q.bin", examples); });
    EXPECT_TRUE(names_in(dir.path()).empty()) << message;
    return message;
  };
  EXPECT_TRUE(contains(refused(kOneParsed, 0), "0 examples"));
  EXPECT_TRUE(contains(refused(kOneParsed, 65536), "65536 examples"));
  EXPECT_TRUE(contains(refused({.context = {65535}, .completions = {{1}}, .label = 0}), "token 65535"));
  EXPECT_TRUE(contains(refused({.context = {-1}, .completions = {{1}}, .label = 0}), "token -1"));
  EXPECT_TRUE(contains(refused({.context = {1}, .completions = {{1}}, .label = 1}), "label 1, but 1"));
  EXPECT_TRUE(contains(refused({.context = {1}, .completions = {{}}, .label = 0}), "at least one token"));
  EXPECT_TRUE(contains(refused({.context = {}, .completions = {{1}}, .label = 0}), "at least one token"));
  const std::vector<int32_t> long_context(32760, 5), too_long(70000, 5);
  EXPECT_TRUE(contains(refused({.context = too_long, .completions = {{1}}, .label = 0}), "70000 tokens"));
  EXPECT_TRUE(contains(refused({.context = long_context, .completions = {{1}}, .label = 0}), "takes 65536 bytes"));
  const std::vector<ChoiceExample> fits = {
      {.context = std::vector<int32_t>(32759, 5), .completions = {{1}}, .label = 0}};
  write_eval_file(dir / "q.bin", fits);
  EXPECT_EQ(read_eval_file(dir / "q.bin", nullptr), fits);
}

TEST(EvalJsonl, TakesTheCommonLayouts) {
  const std::string text =
      "\xef\xbb\xbf{\"question\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": \"B\"}\r\n"
      "\n"
      "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1}\n"
      "{\"query\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": \"1\"}\n"
      "{\"ctx\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": \"b\"}";
  const std::vector<ChoiceExample> examples = parse_eval_jsonl(text, "q.jsonl", *make_byte_tokenizer());
  const ChoiceExample expected = {.context = {'a'}, .completions = {{' ', 'b'}, {' ', 'c'}}, .label = 1};
  EXPECT_EQ(examples, std::vector<ChoiceExample>(4, expected));
  EXPECT_TRUE(is_eval_jsonl("\n {\"ctx\": \"a\", \"endings\": [\"b\""));
  for (const char* other : {"", "\n\n", "plain text", "{\"text\": \"a\"}\n{\"endings\": []}", "[\"endings\"]"}) {
    EXPECT_FALSE(is_eval_jsonl(other)) << other;
  }
}

TEST(EvalJsonl, ErrorsNameTheLine) {
  const std::string good = R"({"ctx": "a", "endings": ["b", "c"], "label": 0})";
  EXPECT_EQ(jsonl_refusal(good), "no error");
  EXPECT_EQ(jsonl_refusal("\n \n"), "q.jsonl: no questions in it");
  EXPECT_EQ(jsonl_refusal(good + "\n{\"ctx\": "), "q.jsonl, line 2: not valid JSON");
  EXPECT_TRUE(contains(jsonl_refusal(std::string(100000, '[')), "line 1: not valid JSON"));
  EXPECT_TRUE(contains(jsonl_refusal("{\"ctx\": \"\xff\"}"), "line 1: not valid JSON"));
  EXPECT_TRUE(contains(jsonl_refusal("[1]"), "line 1: not a JSON object but array"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"endings": ["b", "c"], "label": 0})"), "no text to go on from"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "", "endings": ["b", "c"], "label": 0})"), "go on from is empty"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": 5, "endings": ["b", "c"], "label": 0})"), "not a string but number"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "a", "label": 0})"), R"(no choices; one of "endings", "choices")"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "a", "endings": "b", "label": 0})"), "not a list"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "a", "endings": ["b"], "label": 0})"), "at least two"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "a", "endings": ["b", 1], "label": 0})"), "choice is not a string"));
  EXPECT_TRUE(contains(jsonl_refusal(R"({"ctx": "a", "endings": ["b", "c"]})"), "no right choice"));
  for (const char* label : {"2", "\"2\"", "\"C\"", "-1", "18446744073709551615", "99999999999999999999", "1.5", "\"\"",
                            "null", "\"12345678901234567890\"", "[0]", "\"first\""}) {
    const std::string line = fmt::format(R"({{"ctx": "a", "endings": ["b", "c"], "label": {}}})", label);
    EXPECT_TRUE(contains(jsonl_refusal(line), "right")) << jsonl_refusal(line);
  }
  const auto letters = make_char_tokenizer("abc ");
  EXPECT_TRUE(contains(
      message_of([&] { parse_eval_jsonl(R"({"ctx": "a", "endings": ["b", "z"], "label": 0})", "q.jsonl", *letters); }),
      "q.jsonl, line 1: "));
}

TEST(EvalJsonl, NeedsATokenizer) {
  TempDir dir;
  write_file(dir / "q.jsonl", R"({"ctx": "a", "endings": ["b", "c"], "label": 0})");
  EXPECT_TRUE(contains(message_of([&] { read_eval_file(dir / "q.jsonl", nullptr); }), "needs a tokenizer"));
  EXPECT_EQ(read_eval_file(dir / "q.jsonl", make_byte_tokenizer().get()).size(), 1u);
  write_file(dir / "q.bin", "not an eval file");
  EXPECT_TRUE(contains(message_of([&] { read_eval_file(dir / "q.bin", nullptr); }), "too short"));
}

}  // namespace
}  // namespace ink
