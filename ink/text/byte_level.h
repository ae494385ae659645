// GPT-2's spelling of bytes as printable characters, in which vocab.json, merges.txt and tokenizer.json hold tokens:
// bytes that print in Latin-1 stand for themselves, the rest are U+0100 onwards in ascending order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ink {

std::string to_byte_level(std::string_view bytes);

// The bytes back; nothing if a character is not of that alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace ink
