// Everything that a user does with a tokenizer that was read from a file.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "fuzz/fuzz.h"
#include "ink/text/tokenizer.h"

namespace ink::fuzz {

// Text with words, white space, contractions, digits, other scripts, a special token, and bytes that are not UTF-8.
inline constexpr std::string_view kText =
    "It's  the 1st caf\xc3\xa9,\n\n\xe6\xbc\xa2\xe5\xad\x97 <|endoftext|>\xf0\x9f\x98\x80 we'll \xff\xe2\x80 abababab";

inline void use_tokenizer(const Tokenizer& tokenizer) {
  const int vocab = tokenizer.vocab_size();
  expect(vocab > 0, "a tokenizer has tokens");
  describe(tokenizer);
  std::vector<int32_t> ids;
  const auto round_trip = [&](std::string_view text) {
    ids.clear();
    if (!accepts([&] { tokenizer.encode(text, ids); })) return;
    for (const int32_t id : ids) expect(id >= 0 && id < vocab, "ids are in the vocabulary");
    expect(tokenizer.decode(ids) == text, "decode(encode(text)) == text");
    const size_t cut = tokenizer.safe_cut(text, text.size() / 2);
    expect(cut <= text.size() / 2, "a cut is not beyond its limit");
    std::vector<int32_t> parts;
    tokenizer.encode(text.substr(0, cut), parts);
    tokenizer.encode(text.substr(cut), parts);
    expect(parts == ids, "a text that is cut has the same ids");
    ids.clear();
    tokenizer.encode_with_special(text, ids);
    expect(tokenizer.decode(ids) == text, "special tokens are decoded to their text");
  };
  round_trip(kText);
  // A piece that is too long for the short merges, of the vocabulary's own bytes.
  std::string own;
  for (int32_t id = vocab - 1; id >= 0 && own.size() < 256; --id) own += tokenizer.token(id);
  round_trip(own);
  round_trip(std::string(100, own[0]));
  expect(!accepts([&] { tokenizer.token(vocab); }), "ids out of range are refused");
  if (const auto end = tokenizer.end_of_text()) expect(*end >= 0 && *end < vocab, "end of text is in the vocabulary");
}

}  // namespace ink::fuzz
