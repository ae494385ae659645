// Lines that a person types, with editing and history where libedit is there.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace ink {

// Shows the prompt and reads a line from standard input, without its end; nothing at the end of the input. Lines that
// are not empty are remembered: the arrow keys bring them back.
std::optional<std::string> read_line(const char* prompt);

// "libedit", or what is used instead.
const char* line_editor();

// Brings the terminal back to the state it was in when this object was made: an editor that is interrupted leaves it
// without echo.
class TerminalState {
 public:
  TerminalState();
  ~TerminalState();
  TerminalState(const TerminalState&) = delete;
  TerminalState& operator=(const TerminalState&) = delete;
  void restore() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink
