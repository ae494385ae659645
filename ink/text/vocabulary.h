// Vocabularies as files hold them: what the readers and writers of tokenizer files share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ink/text/bpe.h"
#include "ink/text/tokenizer.h"

namespace ink {

// Tokens by id in GPT-2's byte-level alphabet; a special token is its plain text. special has as many elements.
struct SpelledTokens {
  std::vector<std::string> tokens;
  std::vector<bool> special;
};

SpelledTokens spell(const BpeVocab& vocab);

// Collects merges, each checked against the vocabulary, which must live as long. place names the file in errors.
class SpelledMerges {
 public:
  SpelledMerges(const SpelledTokens& spelled, std::string place);

  void add(std::string_view left, std::string_view right);
  void add(std::string_view pair);  // "left right"
  std::vector<BpeVocab::Merge> take() { return std::move(merges_); }

 private:
  int32_t find(std::string_view token) const;

  std::string place_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<uint64_t> seen_;
  std::vector<BpeVocab::Merge> merges_;
};

// From the byte-level alphabet to bytes: sets tokens and special. Throws Error for a token that is not spelled in it.
void set_tokens(BpeVocab& vocab, const SpelledTokens& spelled, const std::string& place);

// The tokenizer of a checked vocabulary; the byte tokenizer, if it is that. Throws Error if a byte has no token.
std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeVocab vocab, const std::string& place);

// One id for each of these characters (the bytes of one, or a byte that is not UTF-8). Throws Error for a string that
// is more than one, and for one that is there twice.
std::shared_ptr<const Tokenizer> make_char_tokenizer(std::span<const std::string> characters, const std::string& place);

// What a tokenizer of any kind consists of; only gpt2 has merges and special tokens.
BpeVocab vocab_of(const Tokenizer& tokenizer);

// llm.c's tokenizer file (tokenizer.h there): 256 uint32 (magic 20240328, version 2, number of tokens, end of text),
// then each token as one byte with its length and its bytes. It has no room for the kind, for merges and for which
// tokens are special. Read, one that is no list of bytes or characters must be in the order of its merges, as GPT-2's
// is, and its end of text is the only special token. Throws Error for a file that lies, and for a tokenizer that the
// format cannot hold.
std::shared_ptr<const Tokenizer> load_llmc_tokenizer(const std::filesystem::path& path);
void save_llmc_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path);

// The file's bytes; `where` is for errors.
std::string llmc_tokenizer_file(const Tokenizer& tokenizer, std::string_view where);

// Whether a file that begins with these bytes means to be that.
bool is_llmc_tokenizer(std::string_view bytes);

}  // namespace ink
