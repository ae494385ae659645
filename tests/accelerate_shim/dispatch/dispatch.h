// The one function of Apple's Grand Central Dispatch that ink/base/parallel_gcd.cc calls.
#pragma once

#include <cstddef>

extern "C" {

typedef struct dispatch_queue_s* dispatch_queue_t;

// Calls work(context, i) for every i in [0, iterations), in any order and at the same time, and waits for them.
void dispatch_apply_f(size_t iterations, dispatch_queue_t queue, void* context, void (*work)(void* context, size_t i));

}  // extern "C"
