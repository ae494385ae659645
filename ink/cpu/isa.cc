#include "ink/cpu/isa.h"

#include "ink/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ink/cpu/isa.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ink/base/suggest.h"

HWY_BEFORE_NAMESPACE();
namespace ink::cpu::HWY_NAMESPACE {

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace ink::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ink {

namespace cpu {

HWY_EXPORT(target_name);

std::string instruction_set() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace cpu

namespace {

struct Target {
  int64_t bit;  // the better, the lower
  std::string name;
};

// Best first, whatever is disabled at the moment.
std::vector<Target> targets() {
  const int64_t enabled = hwy::SupportedTargets();
  hwy::DisableTargets(0);
  std::vector<Target> all;
  for (const int64_t bit : hwy::SupportedAndGeneratedTargets()) {
    std::string name = hwy::TargetName(bit);
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    all.push_back({bit, name});
  }
  hwy::DisableTargets(~enabled);
  return all;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Target& target : targets()) names.push_back(target.name);
  return names;
}

void limit_instruction_set(std::string_view name) {
  const std::vector<Target> all = targets();
  std::vector<std::string_view> names;
  for (const Target& target : all) {
    if (target.name == name) {
      hwy::DisableTargets(target.bit - 1);
      return;
    }
    names.push_back(target.name);
  }
  fail_unknown("instruction set of this machine", name, names);
}

}  // namespace ink
#endif  // HWY_ONCE
