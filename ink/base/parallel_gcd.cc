#include "ink/base/parallel_gcd.h"

#include <dispatch/dispatch.h>

#include <atomic>

namespace ink {

namespace {

struct Job {
  int64_t tasks;
  void (*call)(const void* body, int64_t task) noexcept;
  const void* body;
  std::atomic<int64_t> next{0};
};

void work(void* context, size_t) {
  Job& job = *static_cast<Job*>(context);
  for (int64_t task = job.next++; task < job.tasks; task = job.next++) job.call(job.body, task);
}

}  // namespace

void run_on_gcd(int threads, int64_t tasks, void (*call)(const void* body, int64_t task) noexcept, const void* body) {
  Job job = {.tasks = tasks, .call = call, .body = body};
  // An iteration a thread, each of which takes tasks as it goes: no more of them run than there are iterations.
  constexpr dispatch_queue_t kAuto = nullptr;  // DISPATCH_APPLY_AUTO, whose macro is no standard C++
  ::dispatch_apply_f(static_cast<size_t>(threads), kAuto, &job, work);
}

}  // namespace ink
