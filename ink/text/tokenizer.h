// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/parallel.h"

namespace ink {

// Ids are in [0, vocab_size). Objects are immutable and may be used by many threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string_view name() const = 0;  // "gpt2", "char", "byte"
  virtual int vocab_size() const = 0;         // special tokens included
  virtual std::optional<int> end_of_text() const = 0;

  // Appends the ids of text to out. Special tokens in text are plain text. Throws Error for text that the tokenizer has
  // no ids for (char: a character that its training text did not hold), naming it and its byte offset.
  virtual void encode(std::string_view text, std::vector<int32_t>& out) const = 0;

  // The same ids as encode, computed on all threads of the pool in bounded pieces.
  virtual void encode_parallel(std::string_view text, ThreadPool& pool, std::vector<int32_t>& out) const;

  // encode, with the special tokens' texts (<|endoftext|>) standing for their ids.
  void encode_with_special(std::string_view text, std::vector<int32_t>& out) const;

  // The bytes of one token. A special token gives its text. Throws Error for an id out of range.
  virtual std::string_view token(int32_t id) const = 0;

  // The bytes of all, one after another: decode(encode(x)) == x for any bytes that encode takes.
  std::string decode(std::span<const int32_t> ids) const;

  // Special tokens: text and id. Empty for char and byte.
  virtual std::vector<std::pair<std::string, int32_t>> special_tokens() const { return {}; }

  // Where text may be cut so that both parts encode to the same ids as the whole, also when more text follows after its
  // end: the largest such offset at or below limit that the characters around it prove, or 0 if there is none (take a
  // larger limit then, or more text). gpt2 never gives text.size(): what follows could belong to the last word.
  // Lets text be encoded in bounded memory.
  virtual size_t safe_cut(std::string_view text, size_t limit) const = 0;

  // The files of a Hugging Face tokenizer (tokenizer.json and tokenizer_config.json; gpt2 adds vocab.json and
  // merges.txt).
  virtual void save(const std::filesystem::path& directory) const = 0;
};

// GPT-2's byte-level BPE over the ranks built into the library: tiktoken's "gpt2" ids. Building it takes some
// milliseconds: share it.
std::shared_ptr<const Tokenizer> make_gpt2_tokenizer();

// One id a byte: 256 ids, no special tokens.
std::shared_ptr<const Tokenizer> make_byte_tokenizer();

// One id a character (Unicode scalar value; a byte that is not UTF-8 counts as a character), in ascending order of the
// characters in text, as nanoGPT's shakespeare_char. Throws Error if text is empty.
std::shared_ptr<const Tokenizer> make_char_tokenizer(std::string_view text);

// The tokenizer that save() wrote to a directory, or any Hugging Face tokenizer of the same kinds: tokenizer.json
// (byte-level BPE with GPT-2's pattern and any vocabulary, or one token a character), or vocab.json with merges.txt
// where that is missing; or a file, llm.c's tokenizer (see ink/text/vocabulary.h). Throws Error for files that are not
// whole or ask for what these kinds cannot do.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& directory);

// The rows of the tokenizer table.
struct TokenizerInfo {
  std::string_view name;
  std::string_view description;
  bool needs_text;  // built from the training text
};
std::span<const TokenizerInfo> tokenizers();

// A tokenizer by name; text is the training text for those built from it. Throws UsageError for an unknown name.
std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view name, std::string_view text = {});

// The same, where name may also be a directory to load from.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name_or_directory, std::string_view text = {});

// Ids written as decimal numbers between white space. Throws Error naming the first that is no id and its place in
// source, the file that text was read from.
std::vector<int32_t> parse_ids(std::string_view text, int vocab_size, std::string_view source);

// The ids with blanks between them.
std::string format_ids(std::span<const int32_t> ids);

// What a tokenizer is, in a few lines for people: name, size, special tokens, longest token.
std::string describe(const Tokenizer& tokenizer);

}  // namespace ink
