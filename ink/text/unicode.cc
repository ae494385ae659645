#include "ink/text/unicode.h"

#include <algorithm>

namespace ink {

namespace {
#include "ink/text/unicode_tables.inc"

bool is_continuation(char c) { return (static_cast<uint8_t>(c) & 0xc0u) == 0x80u; }
}  // namespace

CharClass class_of(uint32_t code) {
  if (code >= kClassifiedEnd) return CharClass::symbol;
  const uint32_t offset = code % kBlockSize;
  return static_cast<CharClass>((kBlocks[kBlockOf[code / kBlockSize]][offset / 4] >> (2 * (offset % 4))) & 3u);
}

// Table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
Character character_at(std::string_view text, size_t at) {
  const uint32_t lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80) return {lead, 1};
  const Character invalid = {kInvalidByte + lead, 1};
  const uint32_t size = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
  if (size == 1 || text.size() - at < size) return invalid;
  uint32_t code = lead & (0x7fu >> size);
  for (uint32_t i = 1; i < size; ++i) {
    if (!is_continuation(text[at + i])) return invalid;
    code = code << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3fu);
  }
  if (size == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) return invalid;
  if (size == 4 && (code < 0x10000 || code > 0x10ffff)) return invalid;
  return {code, size};
}

Character character_before(std::string_view text, size_t end) {
  const std::string_view head = text.substr(0, end);
  for (size_t size = 2; size <= std::min<size_t>(4, end); ++size) {
    if (!is_continuation(head[end - size + 1])) break;
    const Character found = character_at(head, end - size);
    if (found.size == size) return found;
  }
  return character_at(head, end - 1);
}

void append_character(uint32_t code, std::string& out) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(static_cast<uint8_t>(byte)); };
  if (code >= kInvalidByte) {
    put(code - kInvalidByte);
  } else if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

}  // namespace ink
