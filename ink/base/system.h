// Facts about the machine.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace ink {

// Bytes of memory that a new process may use: physical memory, or the control group's limit where it is lower.
size_t physical_memory();

size_t page_size();  // bytes of a page of memory: what maps begin at multiples of

int hardware_threads();

// The most bytes of memory that this process has had in use at once, so far.
size_t peak_memory();

std::string cpu_name();  // for reports; "unknown" where the system does not tell

// Where the user's programs keep what they can get again: $XDG_CACHE_HOME/inkling, else ~/.cache/inkling; empty where
// neither is known.
std::filesystem::path user_cache_folder();

}  // namespace ink
