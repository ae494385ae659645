// Option files: TOML (toml.io) by toml++.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ink {

struct FileOption {
  std::string section;  // the [name] above it; empty at the top
  std::string name;
  std::vector<std::string> values;  // one, or an array's
};

// Reads `name = value` lines, at the top or in [section]s: text, numbers, booleans and arrays of them. Throws
// UsageError with the file and line of a mistake, Error if the file cannot be read.
std::vector<FileOption> read_option_file(const std::filesystem::path& path);

// The value of an option as such a file holds it: text in quotes, numbers and booleans bare and in one form.
std::string option_file_value(std::string_view value, bool is_text);

}  // namespace ink
