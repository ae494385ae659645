// The machine that a benchmark ran on, and its peaks.
#pragma once

#include <string>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/bench/report.h"

namespace ink::bench {

// Measures the peaks, on the first of the devices that knows its own and otherwise on the cpu device: the plain loops'
// share is one of the same machine. Takes about a second.
Machine describe_machine(const std::string& version, const std::vector<std::string>& devices, ThreadPool& pool,
                         DType products = DType::f32);

}  // namespace ink::bench
