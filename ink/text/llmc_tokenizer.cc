// llm.c's tokenizer file (tokenizer.h there): made to turn ids into text, so that it holds the tokens' bytes alone.
#include <algorithm>
#include <array>
#include <cstring>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/text/kinds.h"
#include "ink/text/unicode.h"
#include "ink/text/vocabulary.h"

namespace ink {

namespace {

constexpr uint32_t kMagic = 20240328;
constexpr size_t kHeaderInts = 256;
constexpr size_t kHeaderBytes = kHeaderInts * sizeof(uint32_t);
constexpr uint32_t kGpt2Tokens = 50257;   // what version 1 always holds, the last of them the end of text
constexpr size_t kLongest = 255;          // bytes of a token
constexpr uint32_t kNoEnd = 0xffffffffu;  // where a tokenizer has no end of text; llm.c never generates it

struct Contents {
  std::vector<std::string> tokens;
  uint32_t end_of_text;
};

Contents read_contents(const MappedFile& file) {
  const std::string where = file.path().string();
  std::string_view text = file.text();
  check(is_llmc_tokenizer(text), "{}: not an llm.c tokenizer file (its magic is {})", where, kMagic);
  check(text.size() >= kHeaderBytes, "{}: {} bytes, too short for the header of an llm.c tokenizer file", where,
        text.size());
  std::array<uint32_t, kHeaderInts> header{};
  std::memcpy(header.data(), text.data(), kHeaderBytes);
  const uint32_t version = header[1], count = header[2];
  check(version == 1 || version == 2, "{}: version {} of llm.c's tokenizer file; 1 and 2 can be read", where, version);
  check(version == 2 || count == kGpt2Tokens, "{}: version 1 holds {} tokens, this one says {}", where, kGpt2Tokens,
        count);
  text.remove_prefix(kHeaderBytes);
  check(count >= 1 && count <= text.size() / 2, "{}: {} tokens in {} bytes (truncated?)", where, count, text.size());
  check(count <= kMaxBpeVocab, "{}: {} tokens, at most {} can be read", where, count, kMaxBpeVocab);
  Contents contents{{}, version == 1 ? kGpt2Tokens - 1 : header[3]};
  for (uint32_t id = 0; id < count; ++id) {
    const size_t length = text.empty() ? 0 : static_cast<uint8_t>(text[0]);
    check(length > 0 && length < text.size(), "{}: token {} of {} has {} bytes, {} are left", where, id, count, length,
          text.size());
    contents.tokens.emplace_back(text.substr(1, length));
    text.remove_prefix(1 + length);
  }
  check(text.empty(), "{}: {} bytes after the last token", where, text.size());
  check(contents.end_of_text < count || contents.end_of_text == kNoEnd,
        "{}: the end of text is token {}, but there are {} tokens", where, contents.end_of_text, count);
  return contents;
}

bool is_character(const std::string& token) { return character_at(token, 0).size == token.size(); }

}  // namespace

bool is_llmc_tokenizer(std::string_view bytes) {
  uint32_t magic = 0;
  if (bytes.size() >= sizeof magic) std::memcpy(&magic, bytes.data(), sizeof magic);
  return magic == kMagic;
}

std::shared_ptr<const Tokenizer> load_llmc_tokenizer(const std::filesystem::path& path) {
  const MappedFile file(path);
  Contents contents = read_contents(file);
  std::vector<std::string>& tokens = contents.tokens;
  const bool characters = contents.end_of_text == kNoEnd && std::ranges::all_of(tokens, is_character);
  if (characters && tokens.size() != 256) return make_char_tokenizer(tokens, path.string());
  BpeVocab vocab;
  vocab.tokens = tokens;
  std::vector<std::string> ranks = std::move(tokens);
  if (contents.end_of_text != kNoEnd) {
    check(contents.end_of_text + 1 == ranks.size(), "{}: the end of text is token {} of {}, only the last can be",
          path.string(), contents.end_of_text, ranks.size());
    vocab.end_of_text = ranks.back();
    vocab.special = {{ranks.back(), static_cast<int32_t>(contents.end_of_text)}};
    ranks.pop_back();
  }
  try {
    vocab.merges = merges_from_ranks(ranks);
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
  return make_bpe_tokenizer(std::move(vocab), path.string());
}

std::string llmc_tokenizer_file(const Tokenizer& tokenizer, std::string_view where) {
  std::array<uint32_t, kHeaderInts> header{};
  header[0] = kMagic;
  header[1] = 2;
  header[2] = static_cast<uint32_t>(tokenizer.vocab_size());
  header[3] = tokenizer.end_of_text() ? static_cast<uint32_t>(*tokenizer.end_of_text()) : kNoEnd;
  std::string text(reinterpret_cast<const char*>(header.data()), kHeaderBytes);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view token = tokenizer.token(id);
    check(!token.empty() && token.size() <= kLongest,
          "{}: llm.c's tokenizer file cannot hold token {}, which has {} bytes (1 to {})", where, id, token.size(),
          kLongest);
    text += static_cast<char>(static_cast<uint8_t>(token.size()));
    text += token;
  }
  return text;
}

void save_llmc_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path) {
  write_file(path, llmc_tokenizer_file(tokenizer, path.string()));
}

}  // namespace ink
