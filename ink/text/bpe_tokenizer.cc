#include <algorithm>

#include "ink/base/check.h"
#include "ink/text/kinds.h"
#include "ink/text/pretokenize.h"

namespace ink {

// assets/gpt2.tiktoken: one line a token, its bytes in base64 and its rank.
namespace assets {
std::string_view gpt2_ranks();
}

namespace {

constexpr std::string_view kEndOfText = "<|endoftext|>";

// RFC 4648, padded. The asset is ours: a wrong character is a broken build.
std::string decode_base64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text.substr(0, text.find('='))) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    check(value >= 0, "the built-in gpt2 ranks are damaged at \"{}\"", text);
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(static_cast<uint8_t>(bits >> count));
  }
  return bytes;
}

std::vector<std::string> parse_ranks(std::string_view text) {
  std::vector<std::string> tokens;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t blank = std::min(line.find(' '), line.size());
    const std::string rank = std::to_string(tokens.size());
    check(line.substr(std::min(blank + 1, line.size())) == rank, "the built-in gpt2 ranks are damaged at \"{}\"", line);
    tokens.push_back(decode_base64(line.substr(0, blank)));
  }
  return tokens;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeVocab vocab) : vocab_(std::move(vocab)), bpe_(vocab_) {}

std::optional<int> BpeTokenizer::end_of_text() const {
  for (const auto& [text, id] : vocab_.special) {
    if (text == vocab_.end_of_text) return id;
  }
  return std::nullopt;
}

void BpeTokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = piece_end(text, begin);
    bpe_.encode(text.substr(begin, end - begin), out);
    begin = end;
  }
}

std::string_view BpeTokenizer::token(int32_t id) const {
  check_id(id, vocab_size());
  return vocab_.tokens[static_cast<size_t>(id)];
}

size_t BpeTokenizer::safe_cut(std::string_view text, size_t limit) const { return safe_piece_cut(text, limit); }

void BpeTokenizer::save(const std::filesystem::path& directory) const { save_bpe(vocab_, directory); }

std::shared_ptr<const Tokenizer> make_gpt2_tokenizer() {
  BpeVocab vocab;
  vocab.tokens = parse_ranks(assets::gpt2_ranks());
  vocab.merges = merges_from_ranks(vocab.tokens);
  vocab.special = {{std::string(kEndOfText), static_cast<int32_t>(vocab.tokens.size())}};
  vocab.tokens.emplace_back(kEndOfText);
  vocab.end_of_text = kEndOfText;
  return std::make_shared<BpeTokenizer>(std::move(vocab));
}

}  // namespace ink
