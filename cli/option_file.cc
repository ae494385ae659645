#include "cli/option_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

#include "ink/base/check.h"
#include "ink/base/file.h"

namespace ink {

namespace {

// The text of a value as an option on the command line would give it.
std::string scalar(const toml::node& node, const std::string& name, const fs::path& path) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
  if (const auto integer = node.value_exact<int64_t>()) return fmt::format("{}", *integer);
  if (const auto number = node.value_exact<double>()) return fmt::format("{}", *number);
  throw UsageError(fmt::format("{}: line {}: {} must be text, a number, true or false, or an array of them",
                               path.string(), node.source().begin.line, name));
}

void add_options(const toml::table& table, const std::string& section, const fs::path& path,
                 std::vector<FileOption>& options) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (const toml::table* inner = node.as_table(); inner != nullptr && section.empty()) {
      add_options(*inner, name, path, options);
      continue;
    }
    FileOption option = {section, name, {}};
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) option.values.push_back(scalar(element, name, path));
    } else {
      option.values.push_back(scalar(node, name, path));
    }
    options.push_back(std::move(option));
  }
}

}  // namespace

std::vector<FileOption> read_option_file(const fs::path& path) {
  const std::string text = read_file(path);
  constexpr size_t kMaxBytes = 1 << 15;  // far beyond all options; the parser recurses over dotted keys
  check(text.size() <= kMaxBytes, "{}: {} bytes, an option file has at most {}", path.string(), text.size(), kMaxBytes);
  std::vector<FileOption> options;
  try {
    add_options(toml::parse(text, path.string()), "", path, options);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}: line {}: {}", path.string(), error.source().begin.line, error.description()));
  }
  return options;
}

std::string option_file_value(std::string_view value, bool is_text) {
  if (!is_text) {
    try {
      const toml::table parsed = toml::parse(fmt::format("x = {}", value));
      const toml::node* x = parsed.get("x");
      if (parsed.size() == 1 && (x->is_number() || x->is_boolean())) return scalar(*x, "x", {});
    } catch (const toml::parse_error&) {  // a number in a form that TOML does not have: quoted, it is read as it is
    }
  }
  std::ostringstream quoted;
  quoted << toml::toml_formatter(toml::value<std::string>(std::string(value)), toml::format_flags::none);
  return quoted.str();
}

}  // namespace ink
