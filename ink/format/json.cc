#include "ink/format/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "ink/base/check.h"

namespace ink {

using nlohmann::json;

// Far beyond any file of ours; printing and destroying a value may recurse.
constexpr int kMaxDepth = 64;

json parse_json_object(const std::filesystem::path& path, std::string_view what, std::string_view text) {
  // The parser itself lets the last of equal keys win, which would hide one of two tensors.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    check(depth <= kMaxDepth, "{}: {} is nested deeper than {} levels", path.string(), what, kMaxDepth);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      check(keys.back().insert(parsed.get<std::string>()).second, "{}: {} has the key {} twice", path.string(), what,
            short_dump(parsed));
    }
    return true;
  };
  json object;
  try {
    object = json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& e) {
    fail("{}: {} is not valid JSON (at byte {} of {})", path.string(), what, e.byte, text.size());
  } catch (const json::out_of_range&) {
    fail("{}: {} is not valid JSON (a number is too large)", path.string(), what);
  }
  check(object.is_object(), "{}: {} is not a JSON object but {}", path.string(), what, object.type_name());
  return object;
}

int64_t whole_number(const json& value) {
  if (!value.is_number_integer()) return -1;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) return -1;
  return std::max<int64_t>(-1, value.get<int64_t>());
}

std::string short_dump(const json& value) {
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace ink
