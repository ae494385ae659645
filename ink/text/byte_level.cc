#include "ink/text/byte_level.h"

#include <array>
#include <cstdint>

#include "ink/text/unicode.h"

namespace ink {

namespace {

constexpr uint32_t kCodes = 256 + 68;  // 68 bytes do not print

struct Alphabet {
  std::array<uint32_t, 256> code_of{};
  std::array<int, kCodes> byte_of{};  // -1: no byte
};

constexpr Alphabet kAlphabet = [] {
  Alphabet alphabet;
  for (int& byte : alphabet.byte_of) byte = -1;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const uint32_t code = prints ? byte : next++;
    alphabet.code_of[byte] = code;
    alphabet.byte_of[code] = static_cast<int>(byte);
  }
  return alphabet;
}();

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_character(kAlphabet.code_of[static_cast<uint8_t>(c)], text);
  return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (character.code >= kCodes || kAlphabet.byte_of[character.code] < 0) return std::nullopt;
    bytes += static_cast<char>(static_cast<uint8_t>(kAlphabet.byte_of[character.code]));
    at += character.size;
  }
  return bytes;
}

}  // namespace ink
