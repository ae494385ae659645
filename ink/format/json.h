// JSON files of the room: parsed with an error a person can use, and checked for keys that come twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace ink {

// Parses text that must be one JSON object. Throws Error ("{path}: {what} is not ...") if it is not, if it is nested
// deeper than 64 levels, or if a key comes twice in an object.
nlohmann::json parse_json_object(const std::filesystem::path& path, std::string_view what, std::string_view text);

// A whole number in [0, 2^63), or -1 for anything else: negative, fractional, too large, not a number.
int64_t whole_number(const nlohmann::json& value);

// The value as it stands in a file, cut short for an error message.
std::string short_dump(const nlohmann::json& value);

}  // namespace ink
