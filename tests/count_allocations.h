// Counts what the test program takes from the heap: link count_allocations.cc to replace the global operator new.
#pragma once

#include <cstdint>

namespace ink {

int64_t allocations();  // calls of operator new so far

}  // namespace ink
