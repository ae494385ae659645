// Facts about the machine.
#pragma once

#include <cstddef>
#include <string>

namespace ink {

// Bytes of memory that a new process may use: physical memory, or the control group's limit where it is lower.
size_t physical_memory();

int hardware_threads();

std::string cpu_name();  // for reports; "unknown" where the system does not tell

}  // namespace ink
