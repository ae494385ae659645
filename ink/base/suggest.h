// "Did you mean ...?": the nearest valid name to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ink {

// The candidate with the fewest edits (insert, delete, replace, swap of neighbours; case does not count) from word, the
// first of equals. Empty when nothing is close: more than a third of the longer name's letters, one edit always being
// close for names of two letters and more.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);

// Throws UsageError: "unknown {what} '{name}', did you mean '{near}'?; known: a, b, c", then ", {others}" for what is
// valid besides the known names.
[[noreturn]] void fail_unknown(std::string_view what, std::string_view name, std::span<const std::string_view> known,
                               std::string_view others = {});

}  // namespace ink
