// Threads that one system thread runs in turns, each until it says so: what the emulator runs a block's threads on.
#pragma once

#include <cstddef>
#include <memory>

namespace ink::emu {

class Fiber {
 public:
  explicit Fiber(size_t stack_bytes = size_t{128} << 10);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes it ready to run entry(argument) from the beginning; what it ran before, if unfinished, is forgotten without
  // unwinding. entry must not throw.
  void start(void (*entry)(void*), void* argument);

  // From outside: runs it until it calls yield() or its entry returns.
  void resume();
  // From inside: back to resume().
  void yield();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink::emu
