// The GPUs of this machine, for tests that each of them has to pass. On most there are none.
#pragma once

#include <string>
#include <vector>

#include "ink/ops/device.h"

namespace ink {

inline std::vector<std::string> present_gpus() {
  std::vector<std::string> names;
  for (const char* name : {"cuda", "metal"}) {
    if (is_present(name)) names.push_back(name);
  }
  return names;
}

}  // namespace ink
