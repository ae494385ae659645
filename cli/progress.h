// Lines on the terminal that follow how far something is; nothing where standard error is a file or pipe.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace ink {

using Progress = std::function<void(int64_t done, int64_t total)>;

namespace detail {

template <class Text>
Progress percent_line(const Text& text) {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return [text, shown = int64_t{-1}](int64_t done, int64_t total) mutable {
    const int64_t percent = total > 0 ? 100 * done / total : 100;
    if (percent == shown) return;
    shown = percent;
    fmt::print(stderr, "\r{} ({}%){}", text(done, total), percent, done == total ? "\n" : "");
  };
}

}  // namespace detail

// "fetched 1.2 of 3.4 MB (35%)"
inline Progress byte_progress(std::string verb) {
  return detail::percent_line([verb = std::move(verb)](int64_t done, int64_t total) {
    return fmt::format("{} {:.1f} of {:.1f} MB", verb, static_cast<double>(done) / 1e6,
                       static_cast<double>(total) / 1e6);
  });
}

// "evaluated 12 of 34 tokens (35%)"
inline Progress count_progress(std::string verb, std::string things) {
  return detail::percent_line([verb = std::move(verb), things = std::move(things)](int64_t done, int64_t total) {
    return fmt::format("{} {} of {} {}", verb, done, total, things);
  });
}

}  // namespace ink
