// Where benchmarks keep the files they make.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "ink/base/check.h"
#include "ink/base/file.h"

namespace ink::bench {

// A folder of the system's for temporary files, gone with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = fs::temp_directory_path() / "ink-bench-XXXXXX";
    check(::mkdtemp(name.data()) != nullptr, "{}: cannot make a folder: {}", name, std::strerror(errno));
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;  // what is left over is the system's to remove
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace ink::bench
