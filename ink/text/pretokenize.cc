#include "ink/text/pretokenize.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "ink/text/unicode.h"

namespace ink {

namespace {

constexpr std::array<CharClass, 128> kAscii = [] {
  std::array<CharClass, 128> table{};
  for (char c = '0'; c <= '9'; ++c) table[c] = CharClass::number;
  for (char c = 'a'; c <= 'z'; ++c) table[c] = CharClass::letter;
  for (char c = 'A'; c <= 'Z'; ++c) table[c] = CharClass::letter;
  for (const char c : {'\t', '\n', '\v', '\f', '\r', ' '}) table[c] = CharClass::space;
  return table;
}();

struct Classified {
  CharClass kind;
  uint32_t size;
};

inline Classified classify(std::string_view text, size_t at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return {kAscii[byte], 1};
  const Character character = character_at(text, at);
  return {class_of(character.code), character.size};
}

// The end of the run of characters of one class that goes on at text[at].
size_t run_end(std::string_view text, size_t at, CharClass kind) {
  while (at < text.size()) {
    const Classified next = classify(text, at);
    if (next.kind != kind) break;
    at += next.size;
  }
  return at;
}

// \s+(?!\S) | \s+: the last character of a run is left to what follows it, unless the run is one character or the
// text ends with it.
size_t space_end(std::string_view text, size_t begin) {
  size_t last = begin;
  size_t at = begin;
  while (at < text.size()) {
    const Classified next = classify(text, at);
    if (next.kind != CharClass::space) return last > begin ? last : at;
    last = at;
    at += next.size;
  }
  return at;
}

// Bytes of '(?:[sdmt]|ll|ve|re) in front of text, or 0.
size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  switch (text[1]) {
    case 's':
    case 'd':
    case 'm':
    case 't':
      return 2;
    case 'l':
      return text.size() > 2 && text[2] == 'l' ? 3 : 0;
    case 'v':
    case 'r':
      return text.size() > 2 && text[2] == 'e' ? 3 : 0;
    default:
      return 0;
  }
}

}  // namespace

size_t piece_end(std::string_view text, size_t begin) {
  if (const size_t size = contraction(text.substr(begin, 3)); size != 0) return begin + size;
  const Classified first = classify(text, begin);
  if (first.kind != CharClass::space) return run_end(text, begin + first.size, first.kind);
  if (text[begin] == ' ' && begin + 1 < text.size()) {
    const Classified second = classify(text, begin + 1);
    if (second.kind != CharClass::space) return run_end(text, begin + 1 + second.size, second.kind);
  }
  return space_end(text, begin);
}

size_t safe_piece_cut(std::string_view text, size_t limit) {
  if (text.empty()) return 0;
  for (size_t at = std::min(limit, text.size() - 1); at > 0; --at) {
    const Character right = character_at(text, at);
    if (!right.valid()) continue;  // inside a character, or the beginning of one that the text's end cuts off
    const Character left = character_before(text, at);
    const CharClass before = class_of(left.code);
    const CharClass after = class_of(right.code);
    // No piece goes from one class to another, except a space into what follows it and an apostrophe into letters.
    // White space on the left may belong together with a space that has not been read yet.
    if (before == after || before == CharClass::space) continue;
    if (left.code == '\'' && after == CharClass::letter) continue;
    return at;
  }
  return 0;
}

}  // namespace ink
