// Multiple-choice questions as lines of JSON: HellaSwag's own layout, and the same under other names.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "ink/base/check.h"
#include "ink/data/eval_file.h"

namespace ink {

namespace {

using nlohmann::json;

constexpr std::array<const char*, 4> kContextKeys = {"ctx", "context", "question", "query"};
constexpr std::array<const char*, 2> kChoiceKeys = {"endings", "choices"};
constexpr std::array<const char*, 3> kLabelKeys = {"label", "answer", "gold"};

// The line up to its end, without the carriage return of Windows.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

// "{where}, line {n}", and what its line is asked for.
class Question {
 public:
  Question(std::string_view line, std::string place) : place_(std::move(place)) {
    try {
      object_ = json::parse(line.begin(), line.end());
    } catch (const json::exception&) {
      fail("{}: not valid JSON", place_);
    }
    check(object_.is_object(), "{}: not a JSON object but {}", place_, object_.type_name());
  }

  // The value under the first of the keys that is there.
  template <size_t N>
  const json& value(const std::array<const char*, N>& keys, std::string_view what) const {
    for (const char* key : keys) {
      const auto found = object_.find(key);
      if (found != object_.end()) return *found;
    }
    std::string names;
    for (const char* key : keys) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", key);
    fail("{}: no {}; one of {} is needed", place_, what, names);
  }

  const std::string& text(const json& value, std::string_view what) const {
    check(value.is_string(), "{}: the {} is not a string but {}", place_, what, value.type_name());
    const std::string& string = value.get_ref<const std::string&>();
    check(!string.empty(), "{}: the {} is empty", place_, what);
    return string;
  }

  int32_t label(const json& value, size_t choices) const {
    const std::optional<int64_t> index = index_of(value);
    check(index.has_value(), "{}: the right choice is given as {}; a number from 0 or a letter from A is needed",
          place_,
          value.is_primitive() ? value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 40)
                               : value.type_name());
    check(*index >= 0 && static_cast<size_t>(*index) < choices, "{}: choice {} is the right one, but there are {}",
          place_, *index, choices);
    return static_cast<int32_t>(*index);
  }

  const std::string& place() const { return place_; }

 private:
  static std::optional<int64_t> index_of(const json& value) {
    if (value.is_number_unsigned()) return static_cast<int64_t>(std::min<uint64_t>(value.get<uint64_t>(), 1u << 30));
    if (value.is_number_integer()) return -1;  // below 0: parsed as signed
    if (!value.is_string()) return std::nullopt;
    const std::string& word = value.get_ref<const std::string&>();
    if (word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z') return word[0] - 'A';
    if (word.size() == 1 && word[0] >= 'a' && word[0] <= 'z') return word[0] - 'a';
    const bool number = !word.empty() && word.size() <= 6 &&
                        std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    return number ? std::optional<int64_t>(std::stoll(word)) : std::nullopt;
  }

  json object_;
  std::string place_;
};

ChoiceExample tokenize(const Question& question, const Tokenizer& tokenizer) {
  const std::string& context = question.text(question.value(kContextKeys, "text to go on from"), "text to go on from");
  const json& choices = question.value(kChoiceKeys, "choices");
  check(choices.is_array() && choices.size() >= 2, "{}: the choices are not a list of at least two strings",
        question.place());
  ChoiceExample example;
  example.label = question.label(question.value(kLabelKeys, "right choice"), choices.size());
  try {
    tokenizer.encode(context, example.context);
    for (const json& choice : choices) {
      tokenizer.encode(" " + question.text(choice, "choice"), example.completions.emplace_back());
    }
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.starts_with(question.place())) throw;
    fail("{}: {}", question.place(), what);  // a character that the tokenizer does not know
  }
  return example;
}

}  // namespace

bool is_eval_jsonl(std::string_view text) {
  std::string_view line = take_line(text);
  while (is_blank(line) && !text.empty()) line = take_line(text);
  const size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos || line[start] != '{') return false;
  const auto holds = [&](const char* key) { return line.find(fmt::format("\"{}\"", key)) != std::string_view::npos; };
  return std::any_of(kChoiceKeys.begin(), kChoiceKeys.end(), holds);
}

std::vector<ChoiceExample> parse_eval_jsonl(std::string_view text, std::string_view where, const Tokenizer& tokenizer) {
  std::vector<ChoiceExample> examples;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (is_blank(line)) continue;
    examples.push_back(tokenize(Question(line, fmt::format("{}, line {}", where, number)), tokenizer));
  }
  check(!examples.empty(), "{}: no questions in it", where);
  return examples;
}

}  // namespace ink
