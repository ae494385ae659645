#include "ink/base/system.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace ink {

size_t page_size() { return static_cast<size_t>(::sysconf(_SC_PAGE_SIZE)); }

size_t physical_memory() {
  const auto pages = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES));
  size_t bytes = pages * page_size();
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    size_t limit = 0;
    if (std::ifstream file(path); file >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

size_t peak_memory() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  constexpr size_t kUnit = 1;
#else
  constexpr size_t kUnit = 1024;
#endif
  return static_cast<size_t>(usage.ru_maxrss) * kUnit;
}

int hardware_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

std::filesystem::path user_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && std::filesystem::path(cache).is_absolute()) {  // a relative one is to be ignored, says XDG
    return std::filesystem::path(cache) / "inkling";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') return {};
  return std::filesystem::path(home) / ".cache" / "inkling";
}

std::string cpu_name() {
#ifdef __APPLE__
  char name[256] = {};
  size_t size = sizeof name - 1;
  if (::sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0) return name;
#else
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    if (const size_t colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  }
#endif
  return "unknown";
}

}  // namespace ink
