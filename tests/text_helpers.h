// What the tests of ink/text share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/rng.h"
#include "ink/text/tokenizer.h"

namespace ink {

inline std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

// gpt2, built once.
inline const Tokenizer& gpt2() {
  static const std::shared_ptr<const Tokenizer> tokenizer = make_gpt2_tokenizer();
  return *tokenizer;
}

// Bytes from strings that are hard to cut: white space, contractions, all scripts, parts of characters.
inline std::string tricky_bytes(Mt19937& rng, size_t atoms) {
  static const std::vector<std::string> kAtoms = {" ",        " ",
                                                  " ",        "  ",
                                                  "\n",       "\n\n",
                                                  "\r\n",     "\t",
                                                  "\xc2\xa0", "\xe3\x80\x80",
                                                  "\xc2",     "\x85",
                                                  "\xe2\x80", "\xe2\x80\xa8",
                                                  "'",        "'s",
                                                  "'ll",      "s",
                                                  "a",        "Hello",
                                                  "the",      "\xc3\x9f",
                                                  "\xd0\xb6", "\xe6\xbc\xa2",
                                                  "\xcc\x81", "1",
                                                  "42",       "\xd9\xa3",
                                                  "\xf0",     "\xf0\x9f\x98\x80",
                                                  "!",        "--",
                                                  "\x80",     "\xff",
                                                  "\xed\xa0", "_",
                                                  "\xc0",     "\xf4\x90\x80",
                                                  "zq",       "<|endoftext|>"};
  std::string text;
  for (size_t i = 0; i < atoms; ++i) text += kAtoms[rng.next_u32() % kAtoms.size()];
  if (rng.next_u32() % 4 == 0) text += '\0';
  return text;
}

// The message of the Error that body throws; empty if it throws none.
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace ink
