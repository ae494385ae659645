#include <termios.h>
#include <unistd.h>

#include "cli/line_editor.h"

namespace ink {

struct TerminalState::Impl {
  termios state{};
  bool known = false;
};

TerminalState::TerminalState() : impl_(std::make_unique<Impl>()) {
  impl_->known = ::tcgetattr(STDIN_FILENO, &impl_->state) == 0;
}

TerminalState::~TerminalState() = default;

void TerminalState::restore() const {
  if (impl_->known) ::tcsetattr(STDIN_FILENO, TCSANOW, &impl_->state);
}

}  // namespace ink
