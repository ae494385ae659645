// Ctrl-C, SIGTERM and SIGHUP as a flag, without signal handlers.
//
// A handler runs on the stack of whatever thread it interrupts, and matrix libraries move the stack pointer into their
// own memory while they compute (oneDNN 2.6's sgemm does): a handler's frame there overwrites the heap. So the signals
// are blocked in every thread, and one thread of ours waits for them.
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>
#include <utility>

namespace ink {

class StopSignals {
 public:
  // Make it before any other thread: threads inherit the blocked signals. before_end is called, from another thread,
  // when a signal is about to end the program.
  explicit StopSignals(std::function<void()> before_end = {}) : before_end_(std::move(before_end)) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGHUP);  // the terminal has gone
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    waiter_ = std::thread([this] { wait(); });
  }

  ~StopSignals() {
    done_ = true;
    pthread_kill(waiter_.native_handle(), SIGINT);  // wakes it up
    waiter_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Until then a signal ends the program at once, as if it were not caught.
  void start() { started_ = true; }
  // From then on a signal ends the program again; those requested are forgotten.
  void pause() {
    started_ = false;
    requested_ = false;
  }

  // True from the first signal after start() on. The second one ends the program at once.
  const std::atomic<bool>& requested() const { return requested_; }

 private:
  void wait() {
    int signal = 0;
    while (sigwait(&signals_, &signal) == 0 && !done_) {
      if (!started_ || requested_.exchange(true)) {
        if (before_end_) before_end_();
        std::signal(signal, SIG_DFL);
        pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
        std::raise(signal);
      }
    }
  }

  std::function<void()> before_end_;
  sigset_t signals_{};
  sigset_t before_{};
  std::atomic<bool> started_{false};
  std::atomic<bool> requested_{false};
  std::atomic<bool> done_{false};
  std::thread waiter_;
};

}  // namespace ink
