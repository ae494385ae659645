// text: byte-pair encoding against its definition, over vocabularies made up for the purpose.
#include <gtest/gtest.h>

#include <map>

#include "ink/base/rng.h"
#include "ink/text/bpe.h"
#include "ink/text/byte_level.h"
#include "ink/text/pretokenize.h"
#include "ink/text/unicode.h"
#include "tests/text_helpers.h"

namespace ink {
namespace {

std::vector<std::string> all_bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
  return tokens;
}

// 256 bytes and random merges over the first letters: an id does not tell its merge's rank.
BpeVocab random_vocab(Mt19937& rng, size_t merges) {
  BpeVocab vocab;
  vocab.tokens = all_bytes();
  std::map<std::string, int32_t> ids;
  std::vector<int32_t> parts = {'a', 'b', 'c'};
  for (size_t tries = 0; vocab.merges.size() < merges && tries < 100 * merges; ++tries) {
    const int32_t left = parts[rng.next_u32() % parts.size()];
    const int32_t right = parts[rng.next_u32() % parts.size()];
    const std::string token = vocab.tokens[static_cast<size_t>(left)] + vocab.tokens[static_cast<size_t>(right)];
    if (token.size() > 6 || !ids.emplace(token, 0).second) continue;
    const auto id = static_cast<int32_t>(vocab.tokens.size());
    vocab.tokens.push_back(token);
    parts.push_back(id);
    const auto at = static_cast<std::ptrdiff_t>(rng.next_u32() % (vocab.merges.size() + 1));
    vocab.merges.insert(vocab.merges.begin() + at, {left, right, id});
  }
  return vocab;
}

// The definition: again and again the first of the pairs with the lowest rank.
std::vector<int32_t> encode_slowly(const BpeVocab& vocab, std::string_view piece) {
  std::vector<int32_t> ids;
  for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
  for (size_t rank = 0; rank < vocab.merges.size();) {
    const BpeVocab::Merge& merge = vocab.merges[rank];
    size_t at = 0;
    while (at + 1 < ids.size() && (ids[at] != merge.left || ids[at + 1] != merge.right)) ++at;
    if (at + 1 >= ids.size()) {
      ++rank;
      continue;
    }
    ids[at] = merge.merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    rank = 0;  // the new token may take part in a merge of lower rank
  }
  return ids;
}

TEST(Bpe, MergesAsDefinedAtAnyLength) {
  Mt19937 rng(4);
  for (int round = 0; round < 20; ++round) {
    const BpeVocab vocab = random_vocab(rng, 40);
    const Bpe bpe(vocab);
    for (const size_t length : {1, 2, 3, 5, 17, 63, 64, 65, 66, 200}) {
      std::string piece;
      while (piece.size() < length) piece += static_cast<char>('a' + rng.next_u32() % 3);
      std::vector<int32_t> ids;
      bpe.encode(piece, ids);
      ASSERT_EQ(ids, encode_slowly(vocab, piece)) << piece;
    }
  }
}

TEST(Bpe, TakesWholePiecesOnlyWhereTheMergesLeadThereOrMergesAreIgnored) {
  BpeVocab vocab;
  vocab.tokens = all_bytes();
  vocab.tokens.insert(vocab.tokens.end(), {"bc", "ab", "abc"});
  vocab.merges = {{'b', 'c', 256}, {'a', 'b', 257}, {257, 'c', 258}};  // a bc cannot become abc
  std::vector<int32_t> ids;
  Bpe(vocab).encode("abc", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{'a', 256}));
  vocab.ignore_merges = true;
  ids.clear();
  Bpe(vocab).encode("abc", ids);
  EXPECT_EQ(ids, std::vector<int32_t>{258});
}

TEST(Bpe, PlainTextNeverGivesASpecialToken) {
  BpeVocab vocab;
  vocab.tokens = all_bytes();
  vocab.tokens.emplace_back("a");
  vocab.special = {{"a", 256}};
  vocab.ignore_merges = true;
  std::vector<int32_t> ids;
  Bpe(vocab).encode("a", ids);
  EXPECT_EQ(ids, std::vector<int32_t>{'a'});
}

TEST(Bpe, MergesFollowFromRanks) {
  std::vector<std::string> tokens = all_bytes();
  tokens.insert(tokens.end(), {"ab", "cd", "abcd", std::string(64, 'x')});
  EXPECT_EQ(error_of([&] { merges_from_ranks(tokens); }), "token 259 is not made of two tokens of lower rank");
  tokens.pop_back();
  for (std::string run = "xx"; run.size() <= 256; run += run) tokens.push_back(run);
  const std::vector<BpeVocab::Merge> merges = merges_from_ranks(tokens);
  ASSERT_EQ(merges.size(), tokens.size() - 256);
  EXPECT_EQ(merges[2].left, 256);
  EXPECT_EQ(merges[2].right, 257);
  EXPECT_EQ(merges.back().left, static_cast<int32_t>(tokens.size()) - 2);
}

TEST(Bpe, NeedsATokenForEveryByte) {
  BpeVocab vocab;
  vocab.tokens = all_bytes();
  vocab.tokens[0x41] = "AA";
  EXPECT_EQ(error_of([&] { const Bpe bpe(vocab); }),
            "the vocabulary has no token for byte 0x41: a byte-level BPE needs all 256");
}

TEST(Bpe, RefusesAVocabularyThatItsTablesCannotHold) {
  BpeVocab vocab;
  vocab.tokens = all_bytes();
  vocab.tokens.resize(kMaxBpeVocab + 1, "zz");
  EXPECT_NE(error_of([&] { const Bpe bpe(vocab); }).find("at most 2097152"), std::string::npos);
  EXPECT_NE(error_of([&] { merges_from_ranks(vocab.tokens); }).find("at most 2097152"), std::string::npos);
}

TEST(ByteLevel, SpellsEveryByteAndBack) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(static_cast<uint8_t>(byte));
  EXPECT_EQ(from_byte_level(to_byte_level(bytes)), bytes);
  EXPECT_EQ(to_byte_level(" a\n\xff\xad"),
            "\xc4\xa0"
            "a\xc4\x8a\xc3\xbf\xc5\x83");
  EXPECT_EQ(from_byte_level("a b"), std::nullopt);           // a blank is spelled U+0120
  EXPECT_EQ(from_byte_level("\xc5\x84"), std::nullopt);      // U+0144: one past the alphabet
  EXPECT_EQ(from_byte_level("\xe6\xbc\xa2"), std::nullopt);  // far beyond it
}

TEST(Unicode, DecodesValidUtf8Only) {
  struct Case {
    std::string bytes;
    uint32_t code, size;
  };
  const Case cases[] = {
      {"a", 'a', 1},
      {"\xc2\x80", 0x80, 2},
      {"\xdf\xbf", 0x7ff, 2},
      {"\xe0\xa0\x80", 0x800, 3},
      {"\xed\x9f\xbf", 0xd7ff, 3},
      {"\xee\x80\x80", 0xe000, 3},
      {"\xf0\x90\x80\x80", 0x10000, 4},
      {"\xf4\x8f\xbf\xbf", 0x10ffff, 4},
      {"\x80", kInvalidByte + 0x80, 1},              // a continuation alone
      {"\xc0\x80", kInvalidByte + 0xc0, 1},          // overlong
      {"\xc1\xbf", kInvalidByte + 0xc1, 1},          // overlong
      {"\xe0\x9f\xbf", kInvalidByte + 0xe0, 1},      // overlong
      {"\xf0\x8f\xbf\xbf", kInvalidByte + 0xf0, 1},  // overlong
      {"\xed\xa0\x80", kInvalidByte + 0xed, 1},      // a surrogate
      {"\xf4\x90\x80\x80", kInvalidByte + 0xf4, 1},  // above U+10FFFF
      {"\xf5\x80\x80\x80", kInvalidByte + 0xf5, 1},
      {"\xff", kInvalidByte + 0xff, 1},
      {"\xe2\x82", kInvalidByte + 0xe2, 1},   // cut off
      {"\xe2\x82x", kInvalidByte + 0xe2, 1},  // broken off
  };
  for (const Case& c : cases) {
    const Character character = character_at(c.bytes, 0);
    EXPECT_EQ(character.code, c.code) << testing::PrintToString(c.bytes);
    EXPECT_EQ(character.size, c.size) << testing::PrintToString(c.bytes);
    if (c.size == c.bytes.size()) {
      EXPECT_EQ(character_before("x" + c.bytes, c.bytes.size() + 1).code, c.code);
      std::string back;
      append_character(c.code, back);
      EXPECT_EQ(back, c.bytes);
    }
  }
}

TEST(Unicode, ReadsTheSameCharactersFromBothEnds) {
  Mt19937 rng(5);
  for (int i = 0; i < 1000; ++i) {
    const std::string text = tricky_bytes(rng, 8);
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      at += character.size;
      const Character before = character_before(text, at);
      ASSERT_EQ(before.code, character.code) << testing::PrintToString(text);
      ASSERT_EQ(before.size, character.size);
    }
  }
}

TEST(Pretokenize, CutsAsThePatternDoes) {
  const auto pieces = [](std::string_view text) {
    std::vector<std::string> found;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = piece_end(text, begin);
      found.emplace_back(text.substr(begin, end - begin));
      begin = end;
    }
    return found;
  };
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(pieces("Hello, it's  me 42!\n"), (Pieces{"Hello", ",", " it", "'s", " ", " me", " 42", "!", "\n"}));
  EXPECT_EQ(pieces("\n\n a"), (Pieces{"\n\n", " a"}));
  EXPECT_EQ(pieces("\n\na"), (Pieces{"\n", "\n", "a"}));
  EXPECT_EQ(pieces("a \n "), (Pieces{"a", " \n "}));
  EXPECT_EQ(pieces("'ve'v ''s"), (Pieces{"'ve", "'", "v", " ''", "s"}));
  EXPECT_EQ(pieces("\xff\x80 \xff"
                   "a"),
            (Pieces{"\xff\x80", " \xff", "a"}));  // not UTF-8: symbols
}

}  // namespace
}  // namespace ink
