// Facts about the machine.
#pragma once

#include <cstddef>
#include <string>

namespace ink {

// Bytes of memory that a new process may use: physical memory, or the control group's limit where it is lower.
size_t physical_memory();

int hardware_threads();

// The most bytes of memory that this process has had in use at once, so far.
size_t peak_memory();

std::string cpu_name();  // for reports; "unknown" where the system does not tell

}  // namespace ink
