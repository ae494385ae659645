#include "ink/ops/device.h"

#include "ink/base/suggest.h"
#include "ink/cpu/cpu_ops.h"
#include "ink/ref/ref_ops.h"

namespace ink {

namespace {

struct Device {
  std::string_view name, description;
  std::unique_ptr<Ops> (*make)(ThreadPool& pool);
};

constexpr Device kDevices[] = {
    {"cpu", "vectorised and threaded", [](ThreadPool& pool) { return make_cpu_ops(pool); }},
    {"ref", "plain loops on one thread: the specification, slow",
     [](ThreadPool&) -> std::unique_ptr<Ops> { return std::make_unique<RefOps>(); }},
};

}  // namespace

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> infos;
  for (const Device& d : kDevices) infos.push_back({std::string(d.name), std::string(d.description)});
  return infos;
}

std::unique_ptr<Ops> make_ops(std::string_view device, ThreadPool& pool) {
  std::vector<std::string_view> names;
  for (const Device& d : kDevices) {
    if (d.name == device) return d.make(pool);
    names.push_back(d.name);
  }
  fail_unknown("device", device, names);
}

}  // namespace ink
