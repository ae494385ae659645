// text: the char and byte tokenizers, the table of tokenizers, ids as text.
#include <gtest/gtest.h>

#include "tests/temp_dir.h"
#include "tests/text_helpers.h"

namespace ink {
namespace {

TEST(CharTokenizer, NumbersCharactersInAscendingOrder) {
  const auto tokenizer = make_char_tokenizer(
      "b\xc3\xa9"
      "a\xf0\x9f\x98\x80"
      "ab\n\xff\x80");
  EXPECT_EQ(tokenizer->name(), "char");
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
  EXPECT_TRUE(tokenizer->special_tokens().empty());
  const std::vector<std::string> expected = {"\n", "a", "b", "\xc3\xa9", "\xf0\x9f\x98\x80", "\x80", "\xff"};
  for (int32_t id = 0; id < 7; ++id) EXPECT_EQ(tokenizer->token(id), expected[static_cast<size_t>(id)]);
  const std::string text = "a\xc3\xa9\xff\n\xf0\x9f\x98\x80";
  EXPECT_EQ(ids_of(*tokenizer, text), (std::vector<int32_t>{1, 3, 6, 0, 4}));
  EXPECT_EQ(tokenizer->decode(ids_of(*tokenizer, text)), text);
  EXPECT_NE(error_of([&] { tokenizer->token(7); }), "");
  EXPECT_NE(error_of([&] { tokenizer->token(-1); }), "");
}

TEST(CharTokenizer, NamesACharacterThatItDoesNotKnow) {
  const auto tokenizer = make_char_tokenizer("ab");
  const std::string hint =
      " is not among the 2 characters of the char tokenizer; build it from text that holds it, or use the tokenizer "
      "byte or gpt2";
  EXPECT_EQ(error_of([&] { ids_of(*tokenizer, "ab\xc3\xa9"); }), "character U+00E9 '\xc3\xa9' at byte 2" + hint);
  EXPECT_EQ(error_of([&] { ids_of(*tokenizer, "b\n"); }), "character U+000A at byte 1" + hint);
  EXPECT_EQ(error_of([&] { ids_of(*tokenizer, "\xfe"); }), "byte 0xfe at byte 0" + hint);
  // The offset is in the whole text, wherever the pieces of parallel work begin.
  std::string text(1'000'000, 'a');
  text[700'000] = '?';
  ThreadPool pool(2);
  std::vector<int32_t> ids;
  EXPECT_EQ(error_of([&] { tokenizer->encode_parallel(text, pool, ids); }),
            "character U+003F '?' at byte 700000" + hint);
}

TEST(CharTokenizer, NeedsText) {
  EXPECT_EQ(error_of([] { make_char_tokenizer(""); }),
            "the char tokenizer is built from the training text, and that is empty");
}

TEST(CharTokenizer, AnyBytesSurviveAndSafeCutsKeepTheIds) {
  Mt19937 rng(6);
  for (int i = 0; i < 500; ++i) {
    const std::string text = tricky_bytes(rng, 10);
    const std::string more = text + tricky_bytes(rng, 2);
    const auto tokenizer = make_char_tokenizer(more);
    ASSERT_EQ(tokenizer->decode(ids_of(*tokenizer, more)), more);
    const size_t limit = rng.next_u32() % (text.size() + 3);
    const size_t cut = tokenizer->safe_cut(text, limit);
    ASSERT_LE(cut, std::min(limit, text.size()));
    ASSERT_LE(std::min(limit, text.size()), cut + 3);
    std::vector<int32_t> ids;
    for (const std::string_view part : {std::string_view(more).substr(0, cut), std::string_view(more).substr(cut)}) {
      const std::vector<int32_t> found =
          error_of([&] { ids_of(*tokenizer, part); }).empty() ? ids_of(*tokenizer, part) : std::vector<int32_t>{-1};
      ids.insert(ids.end(), found.begin(), found.end());
    }
    ASSERT_EQ(ids, ids_of(*tokenizer, more)) << "cut at " << cut << " of " << testing::PrintToString(text);
  }
}

TEST(CharTokenizer, EncodesOnThreadsAsOnOne) {
  std::string text;
  while (text.size() < 500'000) text += "a\xc3\xa9\xf0\x9f\x98\x80\xe6\xbc\xa2\xff";
  const auto tokenizer = make_char_tokenizer(text);
  ThreadPool pool(3);
  std::vector<int32_t> ids;
  tokenizer->encode_parallel(text, pool, ids);
  EXPECT_EQ(ids, ids_of(*tokenizer, text));
}

TEST(ByteTokenizer, IsTheBytes) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(tokenizer->name(), "byte");
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
  const std::string text("a\0\xff\n", 4);
  EXPECT_EQ(ids_of(*tokenizer, text), (std::vector<int32_t>{'a', 0, 255, '\n'}));
  EXPECT_EQ(tokenizer->decode(ids_of(*tokenizer, text)), text);
  EXPECT_EQ(tokenizer->safe_cut(text, 2), 2u);
  EXPECT_EQ(tokenizer->safe_cut(text, 9), 4u);
  EXPECT_NE(error_of([&] { tokenizer->token(256); }), "");
  std::vector<int32_t> ids;
  tokenizer->encode_with_special("a<|endoftext|>", ids);
  EXPECT_EQ(ids, ids_of(*tokenizer, "a<|endoftext|>"));
}

TEST(Tokenizers, AreMadeByName) {
  for (const TokenizerInfo& info : tokenizers()) {
    EXPECT_EQ(make_tokenizer(info.name, "text")->name(), info.name);
    EXPECT_FALSE(info.description.empty());
  }
  EXPECT_THROW(make_tokenizer("gtp2"), UsageError);
  EXPECT_EQ(error_of([] { make_tokenizer("gtp2"); }),
            "unknown tokenizer 'gtp2', did you mean 'gpt2'?; known: gpt2, char, byte, or a folder that holds one");
  EXPECT_EQ(error_of([] { make_tokenizer("sentencepiece"); }),
            "unknown tokenizer 'sentencepiece'; known: gpt2, char, byte, or a folder that holds one");
  EXPECT_NE(error_of([] { make_tokenizer("char"); }), "");
}

TEST(Tokenizers, AreOpenedByNameOrFolder) {
  const TempDir dir;
  make_char_tokenizer("abc")->save(dir / "own");
  EXPECT_EQ(open_tokenizer("byte")->name(), "byte");
  EXPECT_EQ(open_tokenizer("char", "xy")->vocab_size(), 2);
  EXPECT_EQ(open_tokenizer((dir / "own").string())->vocab_size(), 3);
  EXPECT_THROW(open_tokenizer("gtp2"), UsageError);
  const std::string missing = (dir / "missing").string();
  EXPECT_EQ(error_of([&] { open_tokenizer(missing); }),
            missing + ": no such folder; a tokenizer is a folder with a tokenizer.json");
}

TEST(Ids, AreReadAndWritten) {
  EXPECT_EQ(parse_ids(" 1 22\n\t50256 ", 50257, "f"), (std::vector<int32_t>{1, 22, 50256}));
  EXPECT_TRUE(parse_ids(" \n", 10, "f").empty());
  EXPECT_TRUE(parse_ids("", 10, "f").empty());
  EXPECT_EQ(format_ids(std::vector<int32_t>{1, 22, 0}), "1 22 0");
  EXPECT_EQ(format_ids({}), "");
}

TEST(Ids, ErrorsNameTheIdAndItsPlace) {
  const auto error = [](std::string_view text) { return error_of([&] { parse_ids(text, 10, "ids.txt"); }); };
  EXPECT_EQ(error("1 2 x7"), "ids.txt: token id 3 at byte 4 is \"x7\": not a number");
  EXPECT_EQ(error("1.5"), "ids.txt: token id 1 at byte 0 is \"1.5\": not a number");
  EXPECT_EQ(error("1 10"), "ids.txt: token id 2 at byte 2 is 10: out of range, the vocabulary has 10 tokens");
  EXPECT_EQ(error("-1"), "ids.txt: token id 1 at byte 0 is -1: out of range, the vocabulary has 10 tokens");
  EXPECT_EQ(error("99999999999999999999"),
            "ids.txt: token id 1 at byte 0 is 99999999999999999999: out of range, the vocabulary has 10 tokens");
  EXPECT_EQ(error("\xff\n"), "ids.txt: token id 1 at byte 0 is \"\\xff\": not a number");
}

TEST(Describe, TellsSizeSpecialsAndTheLongestToken) {
  EXPECT_EQ(describe(*make_char_tokenizer("a\xc3\xa9")),
            "tokenizer       char\n"
            "kind            one token a character of the training text\n"
            "vocabulary      2 tokens\n"
            "special tokens  none\n"
            "longest token   2 bytes, id 1: \"\\xc3\\xa9\"\n");
  const std::string text = describe(gpt2());
  EXPECT_NE(text.find("50257 tokens\nspecial tokens  <|endoftext|> (50256)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("128 bytes, id 35496: \"\\xc3"), std::string::npos) << text;
}

}  // namespace
}  // namespace ink
