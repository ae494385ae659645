#include "ink/text/vocabulary.h"

#include <algorithm>

#include "ink/base/check.h"
#include "ink/text/byte_level.h"
#include "ink/text/kinds.h"
#include "ink/text/unicode.h"

namespace ink {

SpelledTokens spell(const BpeVocab& vocab) {
  SpelledTokens spelled;
  spelled.special.resize(vocab.tokens.size());
  for (const std::string& token : vocab.tokens) spelled.tokens.push_back(to_byte_level(token));
  for (const auto& [text, id] : vocab.special) {
    spelled.tokens[static_cast<size_t>(id)] = text;
    spelled.special[static_cast<size_t>(id)] = true;
  }
  return spelled;
}

SpelledMerges::SpelledMerges(const SpelledTokens& spelled, std::string place) : place_(std::move(place)) {
  for (size_t id = 0; id < spelled.tokens.size(); ++id) {
    if (!spelled.special[id]) ids_.emplace(spelled.tokens[id], static_cast<int32_t>(id));
  }
}

void SpelledMerges::add(std::string_view left, std::string_view right) {
  check(merges_.size() + 1 < kMaxBpeVocab, "{}: more than {} merges", place_, kMaxBpeVocab - 1);
  const std::string whole = std::string(left) + std::string(right);
  const BpeVocab::Merge merge = {find(left), find(right), find(whole)};
  const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | static_cast<uint64_t>(merge.right);
  if (!seen_.insert(pair).second) {
    fail("{}: merge {} of {} and {} is there twice", place_, merges_.size(), printable(left), printable(right));
  }
  merges_.push_back(merge);
}

void SpelledMerges::add(std::string_view pair) {
  const size_t blank = pair.find(' ');
  const bool two = blank != std::string_view::npos && blank > 0 && blank + 1 < pair.size() &&
                   pair.find(' ', blank + 1) == std::string_view::npos;
  if (!two) {
    fail("{}: merge {} is {}, expected two tokens with a blank between them", place_, merges_.size(), printable(pair));
  }
  add(pair.substr(0, blank), pair.substr(blank + 1));
}

int32_t SpelledMerges::find(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  if (found == ids_.end()) {
    fail("{}: merge {} needs the token {}, which the vocabulary lacks", place_, merges_.size(), printable(token));
  }
  return found->second;
}

void set_tokens(BpeVocab& vocab, const SpelledTokens& spelled, const std::string& place) {
  for (size_t id = 0; id < spelled.tokens.size(); ++id) {
    const std::string& text = spelled.tokens[id];
    if (spelled.special[id]) {
      vocab.special.emplace_back(text, static_cast<int32_t>(id));
      vocab.tokens.push_back(text);
      continue;
    }
    std::optional<std::string> bytes = from_byte_level(text);
    if (!bytes || bytes->empty()) {
      fail("{}: token {}, {}, is not spelled in GPT-2's byte-level alphabet", place, id, printable(text));
    }
    vocab.tokens.push_back(std::move(*bytes));
  }
}

namespace {

bool is_byte_vocab(const BpeVocab& vocab) {
  if (!vocab.merges.empty() || !vocab.special.empty() || vocab.tokens.size() != 256) return false;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (vocab.tokens[byte] != std::string(1, static_cast<char>(static_cast<uint8_t>(byte)))) return false;
  }
  return true;
}

}  // namespace

std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeVocab vocab, const std::string& place) {
  if (is_byte_vocab(vocab)) return make_byte_tokenizer();
  try {
    return std::make_shared<BpeTokenizer>(std::move(vocab));
  } catch (const Error& error) {
    fail("{}: {}", place, error.what());
  }
}

std::shared_ptr<const Tokenizer> make_char_tokenizer(std::span<const std::string> characters,
                                                     const std::string& place) {
  std::vector<uint32_t> codes;
  std::unordered_set<uint32_t> seen;
  for (const std::string& token : characters) {
    const bool one = !token.empty() && character_at(token, 0).size == token.size();
    if (!one) fail("{}: token {}, {}, is not one character", place, codes.size(), printable(token));
    codes.push_back(character_at(token, 0).code);
    if (!seen.insert(codes.back()).second) {
      fail("{}: token {}, {}, is there twice", place, codes.size() - 1, printable(token));
    }
  }
  check(!codes.empty(), "{}: no tokens", place);
  return std::make_shared<CharTokenizer>(std::move(codes));
}

BpeVocab vocab_of(const Tokenizer& tokenizer) {
  if (const auto* bpe = dynamic_cast<const BpeTokenizer*>(&tokenizer)) return bpe->vocab();
  BpeVocab vocab;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) vocab.tokens.emplace_back(tokenizer.token(id));
  return vocab;
}

}  // namespace ink
