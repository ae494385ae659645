#include "ink/base/suggest.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "ink/base/check.h"

namespace ink {

namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Levenshtein's distance with swaps of neighbours (optimal string alignment), over three rows of the table.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}
}  // namespace

std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr size_t kLongestName = 256;  // longer words are no typing errors, and the table is quadratic
  if (word.size() > kLongestName) return {};
  std::string_view best;
  size_t fewest = kLongestName;
  for (const std::string_view candidate : candidates) {
    const size_t longer = std::max(word.size(), candidate.size());
    if (longer < 2 || longer > kLongestName) continue;
    const size_t distance = edits(word, candidate);
    if (distance <= std::max<size_t>(1, longer / 3) && distance < fewest) {
      fewest = distance;
      best = candidate;
    }
  }
  return std::string(best);
}

void fail_unknown(std::string_view what, std::string_view name, std::span<const std::string_view> known,
                  std::string_view others) {
  const std::string near = nearest(name, known);
  throw UsageError(fmt::format("unknown {} '{}'{}; known: {}{}{}", what, name,
                               near.empty() ? "" : fmt::format(", did you mean '{}'?", near), fmt::join(known, ", "),
                               others.empty() ? "" : ", ", others));
}

}  // namespace ink
