// UTF-8 and the classes of characters that the pre-tokenizer tells apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ink {

// \p{L}, \p{N} and \s of the regular expression engine that tiktoken uses; symbol is all the rest.
enum class CharClass : uint8_t { symbol = 0, letter = 1, number = 2, space = 3 };

CharClass class_of(uint32_t code);

// A byte that is not part of valid UTF-8 is a character of its own: this code plus the byte, above all of Unicode's.
constexpr uint32_t kInvalidByte = 0x110000;
constexpr uint32_t kCodeEnd = kInvalidByte + 256;

struct Character {
  uint32_t code;  // Unicode scalar value, or kInvalidByte + byte
  uint32_t size;  // bytes
  bool valid() const { return code < kInvalidByte; }
};

// The character that starts at text[at], at < text.size(). Decoding is local: whatever lies around it, a valid sequence
// is found as such by a reader that takes one character after another from any character's start.
Character character_at(std::string_view text, size_t at);

// The character that ends in front of text[end], end > 0.
Character character_before(std::string_view text, size_t end);

// Appends a character's bytes.
void append_character(uint32_t code, std::string& out);

}  // namespace ink
