// Errors that people read: one line with the file, the value and a hint.
//
// Error is for what the outside did wrong (a file, an option, the machine); assert is for what we did wrong.
// Only main() turns an Error into an exit status: 1 for Error, 2 for UsageError.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace ink {

// Bad input or a machine that cannot do what was asked. what() is one line, without a full stop or newline.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A command line (or option file) that cannot be meant as written.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Throws Error with the formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error with the formatted message unless ok. The arguments are evaluated either way: keep them cheap.
template <class... Args>
void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) fail(format, std::forward<Args>(args)...);
}

}  // namespace ink
