// Tasks on the threads of Apple's Grand Central Dispatch, which Accelerate's own work runs on too: one pool of threads
// for both, as many as the processor has, instead of two that take it from each other.
#pragma once

#include <cstdint>

namespace ink {

// Runs call(body, task) for every task in [0, tasks), on at most so many threads at once, the caller's among them.
// Returns when all are done. Does not allocate.
void run_on_gcd(int threads, int64_t tasks, void (*call)(const void* body, int64_t task) noexcept, const void* body);

}  // namespace ink
