#include "cli/option_file.h"

#include <algorithm>
#include <cstdlib>

#include "ink/base/check.h"
#include "ink/base/file.h"

namespace ink {

namespace {

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("+-._").find(c) != std::string_view::npos;
}

// Escapes of "strings": the letter and what it stands for.
constexpr std::string_view kEscapes = "\"\\nrt";
constexpr std::string_view kEscaped = "\"\\\n\r\t";

class Reader {
 public:
  explicit Reader(const fs::path& path) : path_(path), text_(read_file(path)) {}

  std::vector<FileOption> options() {
    std::vector<FileOption> found;
    std::string section;
    for (skip(true); at_ < text_.size(); end_line()) {
      if (take('[')) {
        section = word("a section's name");
        require(take(']'), "']' after the section's name");
        continue;
      }
      FileOption option = {section, word("an option's name"), {}};
      skip(false);
      require(take('='), "'=' after " + option.name);
      skip(false);
      option.values = take('[') ? array() : std::vector<std::string>{value()};
      const bool again = std::any_of(found.begin(), found.end(), [&](const FileOption& other) {
        return other.section == section && other.name == option.name;
      });
      if (again) fail_here(option.name + " is given twice");
      found.push_back(std::move(option));
    }
    return found;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\n'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Over blanks and a comment, and with lines over the ends of lines.
  void skip(bool lines) {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      const bool blank = peek() == ' ' || peek() == '\t' || peek() == '\r' || (lines && peek() == '\n');
      if (!blank) return;
    }
  }

  void end_line() {
    skip(false);
    require(peek() == '\n', "the end of the line");
    skip(true);
  }

  std::string word(const std::string& what) {
    const size_t begin = at_;
    while (at_ < text_.size() && is_bare(text_[at_])) ++at_;
    require(at_ > begin, what);
    return text_.substr(begin, at_ - begin);
  }

  std::string value() {
    if (take('\'')) {
      const size_t begin = at_;
      while (peek() != '\'' && peek() != '\n') ++at_;
      require(take('\''), "the closing '");
      return text_.substr(begin, at_ - begin - 1);
    }
    if (!take('"')) return word("a value; text is put in quotes");
    std::string value;
    while (peek() != '"' && peek() != '\n') {
      if (!take('\\')) {
        value += text_[at_++];
        continue;
      }
      const size_t escape = kEscapes.find(peek());
      require(escape != std::string_view::npos, "one of \\\" \\\\ \\n \\r \\t");
      value += kEscaped[escape];
      ++at_;
    }
    require(take('"'), "the closing \"");
    return value;
  }

  std::vector<std::string> array() {
    std::vector<std::string> values;
    for (skip(true); !take(']'); skip(true)) {
      values.push_back(value());
      skip(true);
      require(take(',') || peek() == ']', "',' or ']'");
    }
    return values;
  }

  void require(bool ok, const std::string& what) const {
    if (!ok) fail_here("expected " + what);
  }
  [[noreturn]] void fail_here(const std::string& message) const {
    const size_t end = std::min(at_, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    throw UsageError(fmt::format("{}: line {}: {}", path_.string(), line, message));
  }

  fs::path path_;
  std::string text_;
  size_t at_ = 0;
};

}  // namespace

std::vector<FileOption> read_option_file(const fs::path& path) { return Reader(path).options(); }

std::string option_file_value(std::string_view value) {
  const std::string text(value);
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  const bool number = !text.empty() && *end == '\0' && std::all_of(text.begin(), text.end(), is_bare);
  if (number || text == "true" || text == "false") return text;
  std::string quoted = "\"";
  for (const char c : text) {
    const size_t escape = kEscaped.find(c);
    if (escape == std::string_view::npos) {
      quoted += c;
    } else {
      quoted += {'\\', kEscapes[escape]};
    }
  }
  return quoted + '"';
}

}  // namespace ink
