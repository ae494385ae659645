// Lines by libedit, whose interface is readline's.
#include <cstdio>
// (after cstdio, which it wants)
#include <editline/readline.h>

#include <cstdlib>
#include <memory>

#include "cli/line_editor.h"

namespace ink {

std::optional<std::string> read_line(const char* prompt) {
  struct Free {
    void operator()(char* line) const { std::free(line); }
  };
  const std::unique_ptr<char, Free> line(::readline(prompt));
  if (line == nullptr) return std::nullopt;
  if (*line != '\0') ::add_history(line.get());
  return std::string(line.get());
}

const char* line_editor() { return "libedit"; }

}  // namespace ink
