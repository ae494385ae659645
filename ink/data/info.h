// What a data file is, for people.
#pragma once

#include <filesystem>
#include <string>

namespace ink {

// A few lines about a token shard (tokens, range of ids, the first ones) or a text file (bytes, lines). Throws Error
// for a malformed shard and for what is neither.
std::string describe_data(const std::filesystem::path& path);

}  // namespace ink
