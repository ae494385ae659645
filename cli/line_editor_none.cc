// Lines as the terminal gives them.
#include <cstdio>
#include <iostream>

#include "cli/line_editor.h"

namespace ink {

std::optional<std::string> read_line(const char* prompt) {
  std::fputs(prompt, stdout);
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

const char* line_editor() { return "the terminal's own line editing, without history (libedit was not found)"; }

}  // namespace ink
