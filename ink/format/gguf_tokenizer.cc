#include "ink/format/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/check.h"
#include "ink/text/byte_level.h"
#include "ink/text/vocabulary.h"

namespace ink {

namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model", kPre = "tokenizer.ggml.pre";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens", kMerges = "tokenizer.ggml.merges";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kBos = "tokenizer.ggml.bos_token_id", kEos = "tokenizer.ggml.eos_token_id";
// Ours, which llama.cpp passes over: what its gpt2 tokenizer does not tell.
constexpr std::string_view kKind = "ink.tokenizer.kind", kIgnoreMerges = "ink.tokenizer.ignore_merges";

constexpr std::string_view kEndOfText = "<|endoftext|>";

// llama.cpp's enum llama_token_type.
enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

// Names of pre-tokenizers in llama.cpp that split by GPT-2's pattern; early files have none.
constexpr std::array<std::string_view, 3> kGpt2Patterns = {"gpt-2", "phi-2", "default"};

// For a char tokenizer: merges that make each character of several bytes from its bytes, left to right. What they make
// on the way are no tokens, which llama.cpp does not ask for; no two characters can merge, as none begins with the
// bytes that others go on with.
std::vector<std::string> merges_of_characters(std::span<const std::string> characters) {
  std::vector<std::string> merges;
  std::set<std::string> seen;
  for (const std::string& token : characters) {
    for (size_t size = 1; size < token.size(); ++size) {
      std::string merge = to_byte_level(token.substr(0, size)) + " " + to_byte_level(token.substr(size, 1));
      if (seen.insert(merge).second) merges.push_back(std::move(merge));
    }
  }
  return merges;
}

}  // namespace

void add_tokenizer(GgufMetadata& metadata, const Tokenizer* tokenizer, int64_t vocab) {
  if (tokenizer == nullptr) return metadata.add(kModel, "none");
  const BpeVocab parts = vocab_of(*tokenizer);
  SpelledTokens spelled = spell(parts);
  std::vector<int32_t> types(spelled.tokens.size(), kNormal);
  for (const auto& [text, id] : parts.special) types[static_cast<size_t>(id)] = kControl;
  std::vector<std::string> merges;
  const bool characters = tokenizer->name() == "char";
  if (characters) {
    merges = merges_of_characters(parts.tokens);
  } else {
    for (const BpeVocab::Merge& m : parts.merges) {
      merges.push_back(spelled.tokens[static_cast<size_t>(m.left)] + " " +
                       spelled.tokens[static_cast<size_t>(m.right)]);
    }
  }
  for (auto id = static_cast<int64_t>(types.size()); id < vocab; ++id) {
    spelled.tokens.push_back(fmt::format("[PAD{}]", id));
    types.push_back(kUnused);
  }
  metadata.add(kModel, "gpt2");
  metadata.add(kPre, "gpt-2");
  metadata.add(kTokens, std::span<const std::string>(spelled.tokens));
  metadata.add(kTypes, std::span<const int32_t>(types));
  metadata.add(kMerges, std::span<const std::string>(merges));
  if (const std::optional<int> end = tokenizer->end_of_text()) {
    metadata.add(kBos, static_cast<uint32_t>(*end));
    metadata.add(kEos, static_cast<uint32_t>(*end));
  }
  if (characters) metadata.add(kKind, tokenizer->name());
  if (parts.ignore_merges) metadata.add(kIgnoreMerges, true);
}

namespace {

// Tokens and which of them are special, without the unused ones at the end.
SpelledTokens read_tokens(const GgufFile& file, int64_t vocab) {
  const GgufValue& value = file.at(kTokens);
  const std::vector<std::string_view> tokens = value.texts();
  check(!tokens.empty() && tokens.size() <= static_cast<size_t>(vocab), "{}: {} tokens, but the model has {} ids",
        value.where, tokens.size(), vocab);
  SpelledTokens spelled;
  spelled.tokens.assign(tokens.begin(), tokens.end());
  spelled.special.resize(tokens.size());
  const GgufValue* types_value = file.find(kTypes);
  if (types_value == nullptr) {  // GPT-2 has this one
    for (size_t id = 0; id < tokens.size(); ++id) spelled.special[id] = tokens[id] == kEndOfText;
    return spelled;
  }
  const std::vector<int64_t> types = types_value->wholes();
  check(types.size() == tokens.size(), "{}: {} types for {} tokens", types_value->where, types.size(), tokens.size());
  std::set<std::string_view> texts;
  for (size_t id = 0; id < types.size(); ++id) {
    check(types[id] != kUserDefined,
          "{}: token {} is user-defined; added tokens that plain text gives are not supported", types_value->where, id);
    if (types[id] != kControl) continue;
    check(!tokens[id].empty() && texts.insert(tokens[id]).second, "{}: the special token {} is empty or there twice",
          value.where, id);
    spelled.special[id] = true;
  }
  size_t used = types.size();
  while (used > 0 && types[used - 1] == kUnused) --used;
  check(used > 0, "{}: no token is in use", types_value->where);
  spelled.tokens.resize(used);
  spelled.special.resize(used);
  return spelled;
}

std::string find_end_of_text(const GgufFile& file, const BpeVocab& vocab) {
  const GgufValue* eos = file.find(kEos);
  std::string end;
  for (const auto& [text, id] : vocab.special) {
    if (eos != nullptr ? eos->whole() == id : text == kEndOfText) end = text;
  }
  return end;
}

bool flag(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.find(key);
  check(value == nullptr || value->type == GgufType::boolean, "{}: {} is not true or false", file.path().string(), key);
  return value != nullptr && value->data[0] != std::byte{0};
}

}  // namespace

std::shared_ptr<const Tokenizer> read_tokenizer(const GgufFile& file, int64_t vocab) {
  const GgufValue* model = file.find(kModel);
  if (model == nullptr || model->text() == "none" || model->text() == "no_vocab") return nullptr;
  check(model->text() == "gpt2", "{} is '{}'; only gpt2 is supported", model->where, model->text());
  if (const GgufValue* pre = file.find(kPre)) {
    check(std::ranges::find(kGpt2Patterns, pre->text()) != kGpt2Patterns.end(), "{} is '{}'; only gpt-2 is supported",
          pre->where, pre->text());
  }
  const SpelledTokens spelled = read_tokens(file, vocab);
  BpeVocab parts;
  set_tokens(parts, spelled, file.at(kTokens).where);
  if (const GgufValue* kind = file.find(kKind); kind != nullptr && kind->text() == "char") {
    return make_char_tokenizer(parts.tokens, file.at(kTokens).where);
  }
  const GgufValue& merges_value = file.at(kMerges);
  SpelledMerges merges(spelled, merges_value.where);
  for (const std::string_view merge : merges_value.texts()) merges.add(merge);
  parts.merges = merges.take();
  parts.end_of_text = find_end_of_text(file, parts);
  parts.ignore_merges = flag(file, kIgnoreMerges);
  return make_bpe_tokenizer(std::move(parts), file.path().string());
}

}  // namespace ink
