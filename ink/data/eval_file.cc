#include "ink/data/eval_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ink/base/check.h"
#include "ink/base/file.h"

namespace ink {

namespace {

constexpr size_t kHeaderBytes = 1024;
constexpr size_t kExampleHeader = 6;  // words: the delimiter up to the context's count
constexpr uint16_t kStart = 65535;

std::array<int32_t, 4> header_of(std::span<const std::byte> bytes) {
  std::array<int32_t, 4> header{};
  std::memcpy(header.data(), bytes.data(), sizeof header);
  return header;
}

// The uint16 words of one example, taken from the front. The bytes may lie at any address.
class Words {
 public:
  Words(std::span<const std::byte> bytes, std::string_view where, int32_t example)
      : bytes_(bytes), where_(where), example_(example) {}

  size_t left() const { return bytes_.size() / sizeof(uint16_t); }

  uint16_t take() {
    uint16_t word = 0;
    std::memcpy(&word, bytes_.data(), sizeof word);
    bytes_ = bytes_.subspan(sizeof word);
    return word;
  }

  // A count and so many tokens.
  std::vector<int32_t> take_tokens(std::string_view what) {
    check(left() > 0, "{}: example {} ends before its {}", where_, example_, what);
    const size_t count = take();
    check(count > 0, "{}: example {} has an empty {}", where_, example_, what);
    check(count <= left(), "{}: example {}: a {} of {} tokens, but {} are left of the example", where_, example_, what,
          count, left());
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = take();
    return tokens;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view where_;
  int32_t example_;
};

// `bytes` are those of the example alone, its delimiter and size checked.
ChoiceExample parse_example(std::span<const std::byte> bytes, std::string_view where, int32_t index) {
  Words words(bytes, where, index);
  words.take();  // the delimiter
  words.take();  // the bytes
  const int32_t stored_index = words.take();
  check(stored_index == index, "{}: example {} has the index {}", where, index, stored_index);
  ChoiceExample example;
  example.label = words.take();
  const int32_t completions = words.take();
  check(example.label < completions, "{}: example {} has the label {}, but {} completions", where, index, example.label,
        completions);
  example.context = words.take_tokens("context");
  for (int32_t i = 0; i < completions; ++i) example.completions.push_back(words.take_tokens("completion"));
  check(words.left() == 0, "{}: example {} has {} bytes after its completions", where, index,
        words.left() * sizeof(uint16_t));
  return example;
}

void append(std::vector<uint16_t>& stream, std::span<const int32_t> tokens, std::string_view where, size_t example) {
  check(!tokens.empty(), "{}: example {}: a context and completions have at least one token", where, example);
  check(tokens.size() < kStart, "{}: example {} is too large for the format: {} tokens", where, example, tokens.size());
  stream.push_back(static_cast<uint16_t>(tokens.size()));
  for (const int32_t token : tokens) {
    check(token >= 0 && token < kStart, "{}: example {}: token {} does not fit the format, which has 65,535 of them",
          where, example, token);
    stream.push_back(static_cast<uint16_t>(token));
  }
}

// The words of one example.
std::vector<uint16_t> words_of(const ChoiceExample& example, std::string_view where, size_t index) {
  const size_t completions = example.completions.size();
  check(example.label >= 0 && static_cast<size_t>(example.label) < completions,
        "{}: example {} has the label {}, but {} completions", where, index, example.label, completions);
  std::vector<uint16_t> words = {kStart, 0, static_cast<uint16_t>(index), static_cast<uint16_t>(example.label),
                                 static_cast<uint16_t>(completions)};
  append(words, example.context, where, index);
  for (const std::vector<int32_t>& completion : example.completions) append(words, completion, where, index);
  const size_t bytes = words.size() * sizeof(uint16_t);
  check(bytes <= 65535, "{}: example {} takes {} bytes, the format has room for 65,535", where, index, bytes);
  words[1] = static_cast<uint16_t>(bytes);
  return words;
}

}  // namespace

bool is_eval_file(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(int32_t) * 4 && header_of(bytes)[0] == kEvalMagic;
}

std::vector<ChoiceExample> parse_eval_file(std::span<const std::byte> bytes, std::string_view where) {
  check(bytes.size() >= kHeaderBytes, "{}: {} bytes, too short for the header of an eval file", where, bytes.size());
  const auto [magic, version, count, longest] = header_of(bytes);
  check(magic == kEvalMagic, "{}: not an eval file (magic {}, expected {})", where, magic, kEvalMagic);
  check(version == kEvalVersion, "{}: eval file version {}, only {} is known", where, version, kEvalVersion);
  check(count >= 1 && count <= kMaxEvalExamples, "{}: {} examples, expected 1 to {}", where, count, kMaxEvalExamples);
  std::span<const std::byte> rest = bytes.subspan(kHeaderBytes);
  constexpr size_t smallest = kExampleHeader * sizeof(uint16_t);
  check(rest.size() / smallest >= static_cast<size_t>(count), "{}: {} bytes are too few for {} examples", where,
        bytes.size(), count);
  std::vector<ChoiceExample> examples;
  examples.reserve(static_cast<size_t>(count));
  size_t largest = 0;
  for (int32_t i = 0; i < count; ++i) {
    check(rest.size() >= smallest, "{}: ends before example {} of {}", where, i, count);
    Words head(rest, where, i);
    const uint16_t start = head.take();
    const size_t size = head.take();
    check(start == kStart, "{}: example {} starts with {}, expected {}", where, i, start, kStart);
    check(size >= smallest && size % sizeof(uint16_t) == 0 && size <= rest.size(),
          "{}: example {} says that it has {} bytes, {} are left of the file", where, i, size, rest.size());
    examples.push_back(parse_example(rest.first(size), where, i));
    largest = std::max(largest, size);
    rest = rest.subspan(size);
  }
  check(rest.empty(), "{}: {} bytes after the last example", where, rest.size());
  check(largest == static_cast<size_t>(longest), "{}: the longest example has {} bytes, the header says {}", where,
        largest, longest);
  return examples;
}

std::vector<ChoiceExample> read_eval_file(const fs::path& path, const Tokenizer* tokenizer) {
  const MappedFile file(path);
  const std::string where = path.string();
  if (is_eval_file(file.bytes()) || path.extension() == ".bin") return parse_eval_file(file.bytes(), where);
  check(tokenizer != nullptr, "{}: needs a tokenizer, as it is text", where);
  return parse_eval_jsonl(file.text(), where, *tokenizer);
}

void write_eval_file(const fs::path& path, std::span<const ChoiceExample> examples) {
  const std::string where = path.string();
  const auto count = static_cast<int64_t>(examples.size());
  check(count >= 1 && count <= kMaxEvalExamples, "{}: {} examples, the format has room for 1 to {}", where, count,
        kMaxEvalExamples);
  AtomicFile file(path);
  std::array<int32_t, kHeaderBytes / sizeof(int32_t)> header = {kEvalMagic, kEvalVersion, static_cast<int32_t>(count)};
  file.write(header.data(), sizeof header);
  size_t longest = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const std::vector<uint16_t> words = words_of(examples[i], where, i);
    file.out().write(std::span<const uint16_t>(words));
    longest = std::max(longest, words.size() * sizeof(uint16_t));
  }
  header[3] = static_cast<int32_t>(longest);
  file.out().write_at(0, header.data(), sizeof header);
  file.commit();
}

}  // namespace ink
