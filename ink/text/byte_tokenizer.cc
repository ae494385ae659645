#include <algorithm>

#include "ink/text/kinds.h"

namespace ink {

ByteTokenizer::ByteTokenizer() {
  for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(static_cast<uint8_t>(i));
}

void ByteTokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  const size_t begin = out.size();
  out.resize(begin + text.size());
  for (size_t i = 0; i < text.size(); ++i) out[begin + i] = static_cast<uint8_t>(text[i]);
}

std::string_view ByteTokenizer::token(int32_t id) const {
  check_id(id, vocab_size());
  return {&bytes_[static_cast<size_t>(id)], 1};
}

size_t ByteTokenizer::safe_cut(std::string_view text, size_t limit) const { return std::min(limit, text.size()); }

void ByteTokenizer::save(const std::filesystem::path& directory) const { save_byte(directory); }

std::shared_ptr<const Tokenizer> make_byte_tokenizer() { return std::make_shared<ByteTokenizer>(); }

}  // namespace ink
