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

// Which libraries are linked is CMake's INK_BLAS to say. Accelerate comes first, as the default: it alone reaches the
// matrix unit of Apple's processors.
constexpr Device kDevices[] = {
#ifdef INK_WITH_ACCELERATE
    {"cpu-accelerate", "cpu, with Accelerate's matrix products",
     [](ThreadPool& pool) { return make_cpu_ops(pool, &cpu::accelerate()); }},
#endif
    {"cpu", "vectorised and threaded", [](ThreadPool& pool) { return make_cpu_ops(pool); }},
#ifdef INK_WITH_ONEDNN
    {"cpu-onednn", "cpu, with oneDNN's matrix products",
     [](ThreadPool& pool) { return make_cpu_ops(pool, &cpu::onednn()); }},
#endif
#ifdef INK_WITH_OPENBLAS
    {"cpu-openblas", "cpu, with OpenBLAS's matrix products",
     [](ThreadPool& pool) { return make_cpu_ops(pool, &cpu::openblas()); }},
#endif
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
