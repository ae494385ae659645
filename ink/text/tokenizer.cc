#include "ink/text/tokenizer.h"

#include <array>
#include <atomic>
#include <charconv>

#include "ink/base/check.h"
#include "ink/base/suggest.h"
#include "ink/text/kinds.h"

namespace ink {

namespace {

constexpr std::array<TokenizerInfo, 3> kTokenizers = {{
    {"gpt2", "GPT-2's byte-level BPE", false},
    {"char", "one token a character of the training text", true},
    {"byte", "one token a byte", false},
}};

// Work is cut by size alone, so that the pieces do not depend on the number of threads.
constexpr size_t kPieceBytes = size_t{1} << 17;
constexpr size_t kPiecesAtOnce = 64;

// Takes the first piece of about kPieceBytes off text; more where it can be cut nowhere before.
std::string_view take_piece(const Tokenizer& tokenizer, std::string_view& text) {
  size_t size = text.size();
  for (size_t limit = kPieceBytes; limit < text.size(); limit *= 2) {
    const size_t cut = tokenizer.safe_cut(text, limit);
    if (cut == 0) continue;
    size = cut;
    break;
  }
  const std::string_view piece = text.substr(0, size);
  text.remove_prefix(size);
  return piece;
}

}  // namespace

std::string printable(std::string_view bytes) {
  constexpr size_t kShown = 40;
  std::string text;
  for (const char c : bytes.substr(0, kShown)) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    }
  }
  return fmt::format("\"{}\"{}", text, bytes.size() > kShown ? "..." : "");
}

void check_id(int32_t id, int vocab_size) {
  check(id >= 0 && id < vocab_size, "token id {} is out of range: the vocabulary has {} tokens, 0 to {}", id,
        vocab_size, vocab_size - 1);
}

void Tokenizer::encode_parallel(std::string_view text, ThreadPool& pool, std::vector<int32_t>& out) const {
  if (pool.threads() == 1 || text.size() <= kPieceBytes) return encode(text, out);
  const size_t begin = out.size();
  std::vector<std::string_view> pieces;
  std::vector<std::vector<int32_t>> ids(kPiecesAtOnce);
  std::atomic<bool> failed = false;
  for (std::string_view rest = text; !rest.empty();) {
    pieces.clear();
    while (!rest.empty() && pieces.size() < kPiecesAtOnce) pieces.push_back(take_piece(*this, rest));
    pool.run(static_cast<int64_t>(pieces.size()), [&](int64_t task) {
      const auto i = static_cast<size_t>(task);
      ids[i].clear();
      try {
        encode(pieces[i], ids[i]);
      } catch (...) {
        failed = true;
      }
    });
    if (failed) {  // once more in one piece: the error then names its offset in the whole text
      out.resize(begin);
      return encode(text, out);
    }
    for (size_t i = 0; i < pieces.size(); ++i) out.insert(out.end(), ids[i].begin(), ids[i].end());
  }
}

void Tokenizer::encode_with_special(std::string_view text, std::vector<int32_t>& out) const {
  struct Special {
    std::string text;
    int32_t id;
    size_t at;  // where it comes next
  };
  std::vector<Special> specials;
  for (auto& [name, id] : special_tokens()) specials.push_back({name, id, text.find(name)});
  size_t begin = 0;
  while (true) {
    const Special* first = nullptr;  // the longest of those that start first
    for (Special& special : specials) {
      if (special.at != std::string_view::npos && special.at < begin) special.at = text.find(special.text, begin);
      if (special.at == std::string_view::npos) continue;
      if (first == nullptr || special.at < first->at ||
          (special.at == first->at && special.text.size() > first->text.size())) {
        first = &special;
      }
    }
    if (first == nullptr) break;
    encode(text.substr(begin, first->at - begin), out);
    out.push_back(first->id);
    begin = first->at + first->text.size();
  }
  encode(text.substr(begin), out);
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += token(id);
  return text;
}

std::span<const TokenizerInfo> tokenizers() { return kTokenizers; }

std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view name, std::string_view text) {
  if (name == "gpt2") return make_gpt2_tokenizer();
  if (name == "char") return make_char_tokenizer(text);
  if (name == "byte") return make_byte_tokenizer();
  std::vector<std::string_view> names;
  for (const TokenizerInfo& info : kTokenizers) names.push_back(info.name);
  fail_unknown("tokenizer", name, names, "or a folder that holds one");
}

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name_or_directory, std::string_view text) {
  for (const TokenizerInfo& info : kTokenizers) {
    if (info.name == name_or_directory) return make_tokenizer(name_or_directory, text);
  }
  // A path is meant where one exists or the name looks like one; else the error lists the names.
  std::error_code ignored;
  const bool is_path =
      std::filesystem::exists(name_or_directory, ignored) || name_or_directory.find('/') != std::string::npos;
  return is_path ? load_tokenizer(name_or_directory) : make_tokenizer(name_or_directory, text);
}

std::vector<int32_t> parse_ids(std::string_view text, int vocab_size, std::string_view source) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(kSpace); at < text.size(); at = text.find_first_not_of(kSpace, at)) {
    const std::string_view word = text.substr(at, text.find_first_of(kSpace, at) - at);
    int32_t id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    const bool is_number = end == word.data() + word.size() && error != std::errc::invalid_argument;
    check(is_number, "{}: token id {} at byte {} is {}: not a number", source, ids.size() + 1, at, printable(word));
    check(error == std::errc() && id >= 0 && id < vocab_size,
          "{}: token id {} at byte {} is {}: out of range, the vocabulary has {} tokens", source, ids.size() + 1, at,
          word, vocab_size);
    ids.push_back(id);
    at += word.size();
  }
  return ids;
}

std::string format_ids(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) {
    if (!text.empty()) text += ' ';
    text += fmt::format_int(id).c_str();
  }
  return text;
}

std::string describe(const Tokenizer& tokenizer) {
  std::string special;
  for (const auto& [text, id] : tokenizer.special_tokens()) special += fmt::format(" {} ({})", text, id);
  int32_t longest = 0;
  for (int32_t id = 1; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.token(id).size() > tokenizer.token(longest).size()) longest = id;
  }
  const std::string_view bytes = tokenizer.token(longest);
  std::string text = fmt::format("tokenizer       {}\n", tokenizer.name());
  for (const TokenizerInfo& info : kTokenizers) {
    if (info.name == tokenizer.name()) text += fmt::format("kind            {}\n", info.description);
  }
  text += fmt::format("vocabulary      {} tokens\n", tokenizer.vocab_size());
  text += fmt::format("special tokens {}\n", special.empty() ? " none" : special);
  text += fmt::format("longest token   {} bytes, id {}: {}\n", bytes.size(), longest, printable(bytes));
  return text;
}

}  // namespace ink
