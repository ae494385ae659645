#include <algorithm>

#include "ink/base/check.h"
#include "ink/text/kinds.h"
#include "ink/text/unicode.h"

namespace ink {

CharTokenizer::CharTokenizer(std::vector<uint32_t> codes) : codes_(std::move(codes)) {
  ascii_.fill(-1);
  for (size_t i = 0; i < codes_.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    append_character(codes_[i], tokens_.emplace_back());
    if (codes_[i] < ascii_.size()) {
      ascii_[codes_[i]] = id;
    } else {
      beyond_.emplace_back(codes_[i], id);
    }
  }
  std::sort(beyond_.begin(), beyond_.end());
}

int32_t CharTokenizer::find(uint32_t code) const {
  if (code < ascii_.size()) return ascii_[code];
  const auto found = std::lower_bound(beyond_.begin(), beyond_.end(), std::pair<uint32_t, int32_t>(code, 0));
  return found != beyond_.end() && found->first == code ? found->second : -1;
}

void CharTokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const int32_t id = find(character.code);
    if (id < 0) {
      const std::string name = !character.valid()      ? fmt::format("byte 0x{:02x}", character.code - kInvalidByte)
                               : character.code < 0x20 ? fmt::format("character U+{:04X}", character.code)
                                                       : fmt::format("character U+{:04X} '{}'", character.code,
                                                                     text.substr(at, character.size));
      fail(
          "{} at byte {} is not among the {} characters of the char tokenizer; build it from text that holds it, or "
          "use "
          "the tokenizer byte or gpt2",
          name, at, codes_.size());
    }
    out.push_back(id);
    at += character.size;
  }
}

std::string_view CharTokenizer::token(int32_t id) const {
  check_id(id, vocab_size());
  return tokens_[static_cast<size_t>(id)];
}

// Between any two characters. One that the end of the text may have cut off stays with what follows.
size_t CharTokenizer::safe_cut(std::string_view text, size_t limit) const {
  size_t whole = text.size();
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<uint8_t>(text[text.size() - back]);
    const size_t size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    if (size > back) whole = text.size() - back;
  }
  const size_t at = std::min(limit, whole);
  for (size_t back = 1; back <= std::min<size_t>(3, at); ++back) {
    if (character_at(text, at - back).size > back) return at - back;
  }
  return at;
}

void CharTokenizer::save(const std::filesystem::path& directory) const { save_char(codes_, directory); }

std::shared_ptr<const Tokenizer> make_char_tokenizer(std::string_view text) {
  check(!text.empty(), "the char tokenizer is built from the training text, and that is empty");
  std::vector<bool> seen(kCodeEnd);
  std::vector<uint32_t> codes;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (!seen[character.code]) codes.push_back(character.code);
    seen[character.code] = true;
    at += character.size;
  }
  std::sort(codes.begin(), codes.end());
  return std::make_shared<CharTokenizer>(std::move(codes));
}

}  // namespace ink
