// The tokenizers behind the interface, for the files of this room only.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ink/text/bpe.h"
#include "ink/text/tokenizer.h"

namespace ink {

// Byte-level BPE with GPT-2's pre-tokenizer, over any vocabulary.
class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeVocab vocab);

  std::string_view name() const override { return "gpt2"; }
  int vocab_size() const override { return static_cast<int>(vocab_.tokens.size()); }
  std::optional<int> end_of_text() const override;
  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  std::string_view token(int32_t id) const override;
  std::vector<std::pair<std::string, int32_t>> special_tokens() const override { return vocab_.special; }
  size_t safe_cut(std::string_view text, size_t limit) const override;
  void save(const std::filesystem::path& directory) const override;
  const BpeVocab& vocab() const { return vocab_; }

 private:
  BpeVocab vocab_;
  Bpe bpe_;  // looks into vocab_
};

// One id a character. codes[id] is the character, as ink/text/unicode.h numbers them; all different.
class CharTokenizer final : public Tokenizer {
 public:
  explicit CharTokenizer(std::vector<uint32_t> codes);

  std::string_view name() const override { return "char"; }
  int vocab_size() const override { return static_cast<int>(codes_.size()); }
  std::optional<int> end_of_text() const override { return std::nullopt; }
  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  std::string_view token(int32_t id) const override;
  size_t safe_cut(std::string_view text, size_t limit) const override;
  void save(const std::filesystem::path& directory) const override;

 private:
  int32_t find(uint32_t code) const;  // -1 if the character has no id

  std::vector<uint32_t> codes_;
  std::vector<std::string> tokens_;                   // the characters' bytes
  std::array<int32_t, 128> ascii_{};                  // id or -1
  std::vector<std::pair<uint32_t, int32_t>> beyond_;  // code and id, sorted by code
};

// One id a byte.
class ByteTokenizer final : public Tokenizer {
 public:
  ByteTokenizer();

  std::string_view name() const override { return "byte"; }
  int vocab_size() const override { return 256; }
  std::optional<int> end_of_text() const override { return std::nullopt; }
  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  std::string_view token(int32_t id) const override;
  size_t safe_cut(std::string_view text, size_t limit) const override;
  void save(const std::filesystem::path& directory) const override;

 private:
  std::array<char, 256> bytes_{};
};

// Bytes for people, in quotes: printable ASCII as it is, the rest escaped, long ones cut.
std::string printable(std::string_view bytes);

// Throws Error unless id is in [0, vocab_size).
void check_id(int32_t id, int vocab_size);

// The Hugging Face files of each kind (huggingface.cc).
void save_bpe(const BpeVocab& vocab, const std::filesystem::path& directory);
void save_char(std::span<const uint32_t> codes, const std::filesystem::path& directory);
void save_byte(const std::filesystem::path& directory);

}  // namespace ink
