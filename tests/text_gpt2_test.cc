// text: gpt2 against tiktoken's ids, and the properties that any tokenizer must have.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "ink/base/file.h"
#include "ink/base/sha256.h"
#include "ink/text/pretokenize.h"
#include "ink/text/unicode.h"
#include "tests/text_helpers.h"

namespace ink {
namespace {

const nlohmann::json& fixture() {
  static const nlohmann::json kFixture =
      nlohmann::json::parse(read_file(fs::path(INK_SOURCE_DIR) / "tests/fixtures/gpt2_tokens.json"));
  return kFixture;
}

std::string sha256_of(const std::vector<int32_t>& ids) {
  return sha256_hex({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

TEST(Gpt2, GivesTiktokensIds) {
  ASSERT_GT(fixture()["cases"].size(), 400u);
  for (const nlohmann::json& item : fixture()["cases"]) {
    const auto text = item["text"].get<std::string>();
    EXPECT_EQ(ids_of(gpt2(), text), item["ids"].get<std::vector<int32_t>>()) << item["text"].dump();
  }
}

// The texts of scripts/make_tokenizer_fixture.py: every code point beside a letter, a digit and a blank.
TEST(Gpt2, GivesTiktokensIdsForAllOfUnicode) {
  const auto block = fixture()["block"].get<uint32_t>();
  uint32_t start = 0;
  for (const nlohmann::json& hash : fixture()["blocks"]) {
    std::string text;
    for (uint32_t code = start; code < start + block; ++code) {
      if (code >= 0xd800 && code < 0xe000) continue;
      text += 'a';
      append_character(code, text);
      text += '1';
      append_character(code, text);
      text += ' ';
      append_character(code, text);
    }
    EXPECT_EQ(sha256_of(ids_of(gpt2(), text)).substr(0, 16), hash.get<std::string>()) << "code points from " << start;
    start += block;
  }
  EXPECT_EQ(start, 0x110000u);
}

TEST(Gpt2, GivesTiktokensIdsForTinyShakespeare) {
  const char* mirror = std::getenv("INK_MIRROR");
  const fs::path path = fs::path(mirror == nullptr ? "" : mirror) / "tinyshakespeare.txt";
  if (mirror == nullptr || !fs::exists(path)) GTEST_SKIP() << "INK_MIRROR has no tinyshakespeare.txt";
  const std::vector<int32_t> ids = ids_of(gpt2(), read_file(path));
  EXPECT_EQ(ids.size(), 338025u);
  EXPECT_EQ(sha256_of(ids), "0c00ab83dc7f46665805762aa7688fb7852f03f28c4a5d84061871e85ea7c815");
}

TEST(Gpt2, KnowsItself) {
  EXPECT_EQ(gpt2().name(), "gpt2");
  EXPECT_EQ(gpt2().vocab_size(), 50257);
  EXPECT_EQ(gpt2().end_of_text(), 50256);
  EXPECT_EQ(gpt2().token(15496), "Hello");
  EXPECT_EQ(gpt2().token(50256), "<|endoftext|>");
  EXPECT_EQ(gpt2().special_tokens(), (std::vector<std::pair<std::string, int32_t>>{{"<|endoftext|>", 50256}}));
  EXPECT_EQ(error_of([] { gpt2().token(50257); }),
            "token id 50257 is out of range: the vocabulary has 50257 tokens, 0 to 50256");
  EXPECT_NE(error_of([] { gpt2().decode(std::vector<int32_t>{0, -1}); }), "");
}

// Every token is found again as a whole piece or by merging: the merges derived from the ranks lead to all of them.
TEST(Gpt2, EncodesEveryTokenThatIsOnePieceToItself) {
  int pieces = 0;
  for (int32_t id = 0; id < 50256; ++id) {
    const std::string token(gpt2().token(id));
    if (piece_end(token, 0) != token.size()) continue;
    ++pieces;
    ASSERT_EQ(ids_of(gpt2(), token), std::vector<int32_t>{id});
  }
  EXPECT_GT(pieces, 50000);
}

TEST(Gpt2, SpecialTokensAreTextUnlessAskedFor) {
  const std::string text = "<|endoftext|>a<|endoftext|><|endoftext|> b<|endoftext";
  const std::vector<int32_t> plain = ids_of(gpt2(), text);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 50256), 0);
  EXPECT_EQ(gpt2().decode(plain), text);
  std::vector<int32_t> special;
  gpt2().encode_with_special(text, special);
  std::vector<int32_t> expected = {50256, 64, 50256, 50256};
  gpt2().encode(" b<|endoftext", expected);
  EXPECT_EQ(special, expected);
  EXPECT_EQ(gpt2().decode(special), text);
}

TEST(Gpt2, AnyBytesSurvive) {
  Mt19937 rng(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint32_t n = rng.next_u32() % 80; n > 0; --n) text += static_cast<char>(rng.next_u32() & 0xff);
    EXPECT_EQ(gpt2().decode(ids_of(gpt2(), text)), text);
    const std::string tricky = tricky_bytes(rng, 12);
    EXPECT_EQ(gpt2().decode(ids_of(gpt2(), tricky)), tricky);
  }
}

TEST(Gpt2, AppendsToWhatIsThere) {
  std::vector<int32_t> ids = {7};
  gpt2().encode("Hello", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{7, 15496}));
}

// Each would take minutes if merging were quadratic.
TEST(Gpt2, LongRunsTakeNoLongTime) {
  for (const char* unit : {"a", " ", "\n", "\xf0\x9f\x98\x80", "=", "qz", "1", "'", "\xff"}) {
    std::string text;
    while (text.size() < 200'000) text += unit;
    EXPECT_EQ(gpt2().decode(ids_of(gpt2(), text)), text);
  }
}

TEST(Gpt2, SafeCutsKeepTheIds) {
  Mt19937 rng(2);
  int cuts = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string text = tricky_bytes(rng, 12);
    const std::string more = text + tricky_bytes(rng, 3);  // a cut also holds for what has not been read yet
    const size_t limit = rng.next_u32() % (text.size() + 3);
    const size_t cut = gpt2().safe_cut(text, limit);
    ASSERT_LE(cut, std::min(limit, text.size()));
    if (cut == 0) continue;
    ++cuts;
    for (const std::string& whole : {text, more}) {
      std::vector<int32_t> ids = ids_of(gpt2(), whole.substr(0, cut));
      gpt2().encode(whole.substr(cut), ids);
      ASSERT_EQ(ids, ids_of(gpt2(), whole)) << "cut at " << cut << " of " << testing::PrintToString(whole);
    }
  }
  EXPECT_GT(cuts, 2000);
}

TEST(Gpt2, SafeCutsAreFoundWhereTheyMust) {
  EXPECT_EQ(gpt2().safe_cut("Hello world", 11), 5u);
  EXPECT_EQ(gpt2().safe_cut("Hello world", 5), 5u);
  EXPECT_EQ(gpt2().safe_cut("Hello world", 4), 0u);
  EXPECT_EQ(gpt2().safe_cut("", 10), 0u);
  EXPECT_EQ(gpt2().safe_cut("it's", 4), 2u);   // in front of the apostrophe, not behind it
  EXPECT_EQ(gpt2().safe_cut("a\n\n", 3), 1u);  // the run may go on
}

// Larger than the pieces of encode_parallel, with a stretch that can be cut nowhere.
TEST(Gpt2, ParallelIdsAreTheSameForAnyNumberOfThreads) {
  Mt19937 rng(3);
  std::string text;
  while (text.size() < 400'000) text += tricky_bytes(rng, 100);
  text += std::string(300'000, 'a');
  while (text.size() < 1'000'000) text += tricky_bytes(rng, 100);
  const std::vector<int32_t> expected = ids_of(gpt2(), text);
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<int32_t> ids = {1};
    gpt2().encode_parallel(text, pool, ids);
    ASSERT_EQ(ids.size(), expected.size() + 1);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), ids.begin() + 1)) << threads << " threads";
  }
}

}  // namespace
}  // namespace ink
