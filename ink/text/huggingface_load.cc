// Reads the files of Hugging Face tokenizers. Nothing in them is believed before it is checked: what is read here
// becomes indices of tables.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/text/kinds.h"
#include "ink/text/unicode.h"
#include "ink/text/vocabulary.h"

namespace ink {

namespace {

using nlohmann::json;

constexpr std::string_view kEndOfText = "<|endoftext|>";
constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 28;  // the largest tokenizers of today take a tenth

void check_size(const fs::path& path) {
  std::error_code ignored;
  const uintmax_t bytes = fs::file_size(path, ignored);
  check(ignored || bytes <= kMaxFileBytes, "{}: {} bytes, too large for a tokenizer (at most {})", path.string(), bytes,
        kMaxFileBytes);
}

json parse(const fs::path& path) {
  check_size(path);
  const MappedFile file(path);
  try {
    return json::parse(file.text());
  } catch (const json::parse_error& error) {
    fail("{}: not valid JSON at byte {} of {}; is the file whole?", path.string(), error.byte, file.text().size());
  } catch (const json::exception&) {
    fail("{}: holds a number that is out of range", path.string());
  }
}

// A value in a file, with its place for errors: "DIR/tokenizer.json: model.vocab".
class Value {
 public:
  Value(const json& value, std::string place) : value_(&value), place_(std::move(place)) {}

  const json& raw() const { return *value_; }
  const std::string& place() const { return place_; }

  // The member, or null where it is missing.
  Value member(const char* key, bool first = false) const {
    static const json kNull;
    if (!value_->is_object()) fail("{} is {}, expected an object", place_, value_->type_name());
    const auto found = value_->find(key);
    return {found == value_->end() ? kNull : *found, place_ + (first ? ": " : ".") + key};
  }
  bool is_null() const { return value_->is_null(); }

  const json& object() const { return expect(value_->is_object(), "an object"); }
  const json& array() const { return expect(value_->is_array(), "an array"); }
  const std::string& string() const { return expect(value_->is_string(), "a string").get_ref<const std::string&>(); }
  bool boolean_or(bool otherwise) const {
    return is_null() ? otherwise : expect(value_->is_boolean(), "true or false").get<bool>();
  }
  std::string string_or_empty() const { return is_null() ? std::string() : string(); }

 private:
  const json& expect(bool ok, std::string_view type) const {
    if (!ok) fail("{} is {}, expected {}", place_, value_->is_null() ? "missing" : value_->type_name(), type);
    return *value_;
  }

  const json* value_;
  std::string place_;
};

Value root(const json& document, const fs::path& path) {
  check(document.is_object(), "{}: holds {}, expected an object", path.string(), document.type_name());
  return {document, path.string()};
}

int32_t checked_id(const json& value, std::string_view place, std::string_view token) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= kMaxBpeVocab) {
    fail("{}: token {} has id {}, expected a whole number from 0 to {}", place, printable(token),
         value.is_number() ? value.dump() : value.type_name(), kMaxBpeVocab - 1);
  }
  return value.get<int32_t>();
}

SpelledTokens read_vocab(const Value& vocab, const Value& added_tokens) {
  std::unordered_map<int32_t, std::string> by_id;
  for (const auto& [token, value] : vocab.object().items()) {
    const int32_t id = checked_id(value, vocab.place(), token);
    const auto [found, is_new] = by_id.emplace(id, token);
    if (!is_new)
      fail("{}: tokens {} and {} both have id {}", vocab.place(), printable(found->second), printable(token), id);
  }
  std::vector<int32_t> special;
  std::unordered_set<std::string> texts;
  if (!added_tokens.is_null()) {
    for (const json& item : added_tokens.array()) {
      const Value entry(item, fmt::format("{}[{}]", added_tokens.place(), special.size()));
      const std::string& text = entry.member("content").string();
      const int32_t id = checked_id(entry.member("id").raw(), entry.place(), text);
      check(!text.empty(), "{}: an empty token", entry.place());
      check(entry.member("special").boolean_or(false),
            "{}: token {} is not special; added tokens that plain text gives are not supported", entry.place(),
            printable(text));
      const auto [found, is_new] = by_id.emplace(id, text);
      check(is_new || found->second == text, "{}: tokens {} and {} both have id {}", entry.place(),
            printable(found->second), printable(text), id);
      check(texts.insert(text).second, "{}: token {} is there twice", entry.place(), printable(text));
      special.push_back(id);
    }
  }
  const size_t n = by_id.size();
  check(n > 0, "{}: no tokens", vocab.place());
  SpelledTokens spelled{std::vector<std::string>(n), std::vector<bool>(n)};
  for (auto& [id, token] : by_id) {
    if (static_cast<size_t>(id) >= n) {
      fail("{}: token {} has id {}, but there are {} tokens: ids must run from 0 to {}", vocab.place(),
           printable(token), id, n, n - 1);
    }
    spelled.tokens[static_cast<size_t>(id)] = std::move(token);
  }
  for (const int32_t id : special) spelled.special[static_cast<size_t>(id)] = true;
  return spelled;
}

// The token that ends documents: tokenizer_config.json's eos_token where it is a special token, else <|endoftext|>.
std::string find_end_of_text(const fs::path& directory, const BpeVocab& vocab) {
  const auto is_special = [&vocab](std::string_view name) {
    return std::any_of(vocab.special.begin(), vocab.special.end(), [&](const auto& s) { return s.first == name; });
  };
  const fs::path path = directory / "tokenizer_config.json";
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    const json document = parse(path);
    const Value eos = root(document, path).member("eos_token", true);
    std::string name = eos.raw().is_object() ? eos.member("content").string() : eos.string_or_empty();
    if (!name.empty() && is_special(name)) return name;
  }
  return is_special(kEndOfText) ? std::string(kEndOfText) : std::string();
}

// What this library's BPE does not do must not be asked for: its ids would differ in silence.
void check_plain_bpe(const Value& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Value affix = model.member(key);
    check(affix.string_or_empty().empty(), "{} is {}: not supported, only byte-level BPE without it is", affix.place(),
          printable(affix.string_or_empty()));
  }
  const Value dropout = model.member("dropout");
  check(dropout.is_null() || dropout.raw() == 0, "{} is not 0: not supported", dropout.place());
  const Value fallback = model.member("byte_fallback");
  check(!fallback.boolean_or(false), "{} is true: not supported, a byte-level BPE has a token for every byte",
        fallback.place());
}

std::shared_ptr<const Tokenizer> load_bpe(const Value& file, const Value& model, const fs::path& path) {
  check_plain_bpe(model);
  const Value pre = file.member("pre_tokenizer", true);
  check(!pre.is_null() && pre.member("type").string_or_empty() == "ByteLevel" &&
            !pre.member("add_prefix_space").boolean_or(true),
        "{}: not supported, only ByteLevel without add_prefix_space (GPT-2's) is", pre.place());
  const Value vocab_value = model.member("vocab");
  const SpelledTokens spelled = read_vocab(vocab_value, file.member("added_tokens", true));
  const Value merges_value = model.member("merges");
  SpelledMerges merges(spelled, merges_value.place());
  size_t index = 0;
  for (const json& item : merges_value.array()) {
    const Value merge(item, fmt::format("{}[{}]", merges_value.place(), index++));
    if (item.is_array() && item.size() == 2) {
      merges.add(Value(item[0], merge.place()).string(), Value(item[1], merge.place()).string());
    } else {
      merges.add(merge.string());
    }
  }
  BpeVocab vocab;
  set_tokens(vocab, spelled, vocab_value.place());
  vocab.merges = merges.take();
  vocab.ignore_merges = model.member("ignore_merges").boolean_or(false);
  vocab.end_of_text = find_end_of_text(path.parent_path(), vocab);
  const Value use_regex = pre.member("use_regex");
  check(use_regex.boolean_or(true) || vocab.merges.empty(), "{} is false: not supported, only GPT-2's pattern is",
        use_regex.place());
  return make_bpe_tokenizer(std::move(vocab), path.string());
}

// One character, or <0xNN> for a byte that is not UTF-8.
std::optional<uint32_t> code_of_word(std::string_view word) {
  if (word.empty()) return std::nullopt;
  const Character character = character_at(word, 0);
  if (character.size == word.size() && character.valid()) return character.code;
  if (word.size() != 6 || !word.starts_with("<0x") || word[5] != '>') return std::nullopt;
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  const size_t high = kDigits.find(word[3]);
  const size_t low = kDigits.find(word[4]);
  if (high < 8 || high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
  return kInvalidByte + static_cast<uint32_t>(high * 16 + low);
}

std::shared_ptr<const Tokenizer> load_char(const Value& file, const Value& model) {
  const Value pre = file.member("pre_tokenizer", true);
  check(!pre.is_null() && pre.member("type").string_or_empty() == "Split" &&
            pre.member("behavior").string_or_empty() == "Isolated",
        "{}: not supported, a WordLevel model must be split into characters (type Split, behavior Isolated)",
        pre.place());
  const Value added = file.member("added_tokens", true);
  check(added.is_null() || added.array().empty(), "{}: a char tokenizer has no special tokens, {} found", added.place(),
        added.raw().size());
  const Value vocab = model.member("vocab");
  std::vector<uint32_t> codes;
  for (const std::string& word : read_vocab(vocab, added).tokens) {
    const std::optional<uint32_t> code = code_of_word(word);
    if (!code) fail("{}: token {}, {}, is not one character", vocab.place(), codes.size(), printable(word));
    codes.push_back(*code);
  }
  return std::make_shared<CharTokenizer>(std::move(codes));
}

std::shared_ptr<const Tokenizer> load_tokenizer_json(const fs::path& path) {
  const json document = parse(path);
  const Value file = root(document, path);
  const Value normalizer = file.member("normalizer", true);
  check(normalizer.is_null(), "{}: not supported, text is encoded as it is", normalizer.place());
  const Value model = file.member("model", true);
  model.object();
  // Early GPT-2 files name no type.
  const Value type = model.member("type");
  const std::string kind = type.is_null() && !model.member("merges").is_null() ? "BPE" : type.string();
  if (kind == "BPE") return load_bpe(file, model, path);
  if (kind == "WordLevel") return load_char(file, model);
  fail("{} is {}: not supported, only BPE and WordLevel are", type.place(), printable(kind));
}

std::shared_ptr<const Tokenizer> load_vocab_and_merges(const fs::path& directory) {
  const fs::path vocab_path = directory / "vocab.json";
  const fs::path merges_path = directory / "merges.txt";
  const json document = parse(vocab_path);
  const json no_added_tokens;
  SpelledTokens spelled = read_vocab(root(document, vocab_path), {no_added_tokens, vocab_path.string()});
  // The two files do not say which tokens are special; GPT-2 has this one.
  for (size_t id = 0; id < spelled.tokens.size(); ++id) spelled.special[id] = spelled.tokens[id] == kEndOfText;
  check_size(merges_path);
  const MappedFile file(merges_path);
  SpelledMerges merges(spelled, merges_path.string());
  std::string_view text = file.text();
  if (text.starts_with("#version")) text.remove_prefix(std::min(text.size(), text.find('\n')));
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) merges.add(line);
  }
  BpeVocab vocab;
  set_tokens(vocab, spelled, vocab_path.string());
  vocab.merges = merges.take();
  vocab.end_of_text = find_end_of_text(directory, vocab);
  return make_bpe_tokenizer(std::move(vocab), vocab_path.string());
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& directory) {
  std::error_code ignored;
  if (fs::is_regular_file(directory, ignored)) return load_llmc_tokenizer(directory);
  check(fs::is_directory(directory, ignored), "{}: no such folder; a tokenizer is a folder with a tokenizer.json",
        directory.string());
  if (fs::exists(directory / "tokenizer.json", ignored)) return load_tokenizer_json(directory / "tokenizer.json");
  for (const char* name : {"vocab.json", "merges.txt"}) {
    check(fs::exists(directory / name, ignored), "{}: holds no tokenizer.json, and no {} either", directory.string(),
          name);
  }
  return load_vocab_and_merges(directory);
}

}  // namespace ink
