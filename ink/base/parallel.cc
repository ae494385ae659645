#include "ink/base/parallel.h"

#include <span>
#include <system_error>

#include "ink/base/check.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#ifdef __APPLE__
#include "ink/base/parallel_gcd.h"
#endif
#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace ink {

namespace {
// Spinning bridges the gap between two loops of one training step; longer gaps sleep.
constexpr int kSpins = 20000;
constexpr uint64_t kNoTask = 0xffffffffu;  // beyond any job's last task

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
#ifdef __linux__
// Those of the thread that asks first, before any pool has kept it to one.
const std::vector<int>& usable_processors() {
  static const std::vector<int> kProcessors = [] {
    std::vector<int> processors;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return processors;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) processors.push_back(i);
    }
    return processors;
  }();
  return kProcessors;
}

// The calling thread. A refusal costs speed at most.
void keep_to(std::span<const int> processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int i : processors) CPU_SET(i, &set);
  if (!processors.empty()) ::sched_setaffinity(0, sizeof set, &set);
}

// Another one for each thread; programs that run side by side begin with different ones.
std::span<const int> one_of(std::span<const int> processors, int thread) {
  return processors.subspan((static_cast<size_t>(::getpid()) + thread) % processors.size(), 1);
}
#else
const std::vector<int>& usable_processors() {
  static const std::vector<int> kNotKnown;
  return kNotKnown;
}
void keep_to(std::span<const int>) {}
std::span<const int> one_of(std::span<const int> processors, int) { return processors; }
#endif
}  // namespace

ThreadPool::ThreadPool(int threads, Pin pin) {
  const std::span<const int> processors = usable_processors();
  const auto available = static_cast<int>(processors.empty() ? std::thread::hardware_concurrency() : processors.size());
  if (threads <= 0) threads = std::max(1, available);
  threads_ = threads;
#ifdef __APPLE__
  return;  // Grand Central Dispatch has them
#endif
  workers_.reserve(threads - 1);
  // More threads than the machine has would spin in each other's way.
  spins_ = threads <= available ? kSpins : 0;
  pinned_ = pin == Pin::yes && threads > 1 && threads == static_cast<int>(processors.size());
  try {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, processors, i] {
        keep_to(pinned_ ? one_of(processors, i) : processors);  // the creator may be kept to one
        worker_loop();
      });
    }
    if (pinned_) keep_to(one_of(processors, 0));
  } catch (const std::system_error& error) {
    const size_t started = workers_.size() + 1;
    join();
    fail("cannot start {} threads, only {}: {}; use a smaller --threads", threads, started, error.code().message());
  }
}

ThreadPool::~ThreadPool() {
  join();
  if (pinned_) keep_to(usable_processors());
}

void ThreadPool::join() {
  stop_.store(true, std::memory_order_release);
  ticket_.fetch_add(uint64_t{1} << 32, std::memory_order_acq_rel);  // a new job number wakes everyone
  ticket_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::run_tasks(int64_t tasks, Call call, const void* body) {
  if (tasks <= 0) return;
  if (threads_ == 1 || tasks == 1) {
    for (int64_t task = 0; task < tasks; ++task) call(body, task);
    return;
  }
#ifdef __APPLE__
  return run_on_gcd(static_cast<int>(std::min<int64_t>(threads_, tasks)), tasks, call, body);
#endif
  // Closing the ticket first makes every compare-and-swap of a slow worker fail while the job changes: one that has
  // read any of the new fields (acquire) also sees the closed ticket.
  const uint64_t last_job = ticket_.load(std::memory_order_relaxed) >> 32;
  ticket_.store((last_job + 1) << 32 | kNoTask, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  body_.store(body, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);
  const uint64_t ticket = (last_job + 2) << 32;
  ticket_.store(ticket, std::memory_order_release);
  ticket_.notify_all();
  work(ticket);
  for (int spin = 0;; ++spin) {
    const int64_t done = done_.load(std::memory_order_acquire);
    if (done == tasks) return;
    if (spin < spins_) {
      pause();
    } else {
      done_.wait(done, std::memory_order_acquire);
    }
  }
}

// Claims and runs tasks of the job that ticket names, until none is left.
void ThreadPool::work(uint64_t ticket) {
  const uint64_t job = ticket >> 32;
  while (true) {
    const int64_t tasks = tasks_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    const auto task = static_cast<int64_t>(ticket & kNoTask);
    if (task >= tasks) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      if (ticket >> 32 != job) return;
      continue;
    }
    ++ticket;
    call(body, task);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) done_.notify_one();
  }
}

void ThreadPool::worker_loop() {
  uint64_t seen = 0;
  while (true) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (int spin = 0; ticket >> 32 == seen && spin < spins_; ++spin) {
      pause();
      ticket = ticket_.load(std::memory_order_acquire);
    }
    while (ticket >> 32 == seen) {
      ticket_.wait(ticket, std::memory_order_acquire);
      ticket = ticket_.load(std::memory_order_acquire);
    }
    if (stop_.load(std::memory_order_acquire)) return;
    seen = ticket >> 32;
    work(ticket);
  }
}

}  // namespace ink
