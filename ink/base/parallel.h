// A pool of threads for loops: its own, or on Apple's systems those of Grand Central Dispatch. Results must not depend
// on which thread runs a task, nor on how many there are: split work into pieces whose size depends on the data alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace ink {

class ThreadPool {
 public:
  // Whether a pool as large as the set of processors that the process may use keeps each thread, the caller too, to one
  // of them (Linux; elsewhere it says nothing). A scheduler may leave two threads on one processor for seconds while
  // another is idle, which costs loops as short as these up to half their speed. The destructor frees the caller again.
  enum class Pin : uint8_t { no, yes };

  // threads counts the caller: 1 starts none. 0 means all processors that the process may use. Throws Error if the
  // system refuses them.
  explicit ThreadPool(int threads = 0, Pin pin = Pin::no);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Runs body(task) for every task in [0, tasks), tasks < 2^32 - 1, and returns when all are done. The caller works
  // too. body must not throw (the program ends if it does) and must not call the same pool. Does not allocate. Only one
  // thread may call run at a time.
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    run_tasks(
        tasks, [](const void* b, int64_t task) noexcept { (*static_cast<const Body*>(b))(task); }, &body);
  }

  // Runs body(begin, end) over [0, n) in pieces of at most grain.
  template <class Body>
  void run_range(int64_t n, int64_t grain, const Body& body) {
    run((n + grain - 1) / grain, [&](int64_t task) {
      const int64_t begin = task * grain;
      body(begin, std::min(n, begin + grain));
    });
  }

 private:
  using Call = void (*)(const void* body, int64_t task) noexcept;

  void run_tasks(int64_t tasks, Call call, const void* body);
  void work(uint64_t ticket);
  void worker_loop();
  void join();

  // ticket_ holds the job's number (high word) and the next unclaimed task (low word): claiming is one
  // compare-and-swap, which fails for a thread that still holds an earlier job's number.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> tasks_{0};
  std::atomic<int64_t> done_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<bool> stop_{false};
  int threads_ = 1;
  int spins_ = 0;
  bool pinned_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace ink
