#include "ink/ops/device.h"

#include <fmt/format.h>

#include <cassert>

#include "ink/accelerate/accelerate_ops.h"
#include "ink/base/check.h"
#include "ink/base/suggest.h"
#include "ink/cpu/cpu_ops.h"
#include "ink/ref/ref_ops.h"

namespace ink {

namespace {

struct Device {
  std::string_view name, description;
  std::unique_ptr<Ops> (*make)(ThreadPool& pool, DType products);
  bool bf16 = true;  // whether products can be bf16
};

// Which libraries are linked is CMake's INK_ACCELERATE and INK_BLAS to say.
constexpr Device kDevices[] = {
    {"cpu", "vectorised and threaded", [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products); }},
#ifdef INK_WITH_ACCELERATE
    {"accelerate", "Apple's Accelerate, and cpu where it has nothing", make_accelerate_ops},
#endif
#ifdef INK_WITH_ONEDNN
    {"cpu-onednn", "cpu, with oneDNN's matrix products",
     [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products, &cpu::onednn()); }, false},
#endif
#ifdef INK_WITH_OPENBLAS
    {"cpu-openblas", "cpu, with OpenBLAS's matrix products",
     [](ThreadPool& pool, DType products) { return make_cpu_ops(pool, products, &cpu::openblas()); }, false},
#endif
    {"ref", "plain loops on one thread: the specification, slow",
     [](ThreadPool&, DType products) -> std::unique_ptr<Ops> { return std::make_unique<RefOps>(products); }},
};

}  // namespace

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> infos;
  for (const Device& d : kDevices) infos.push_back({std::string(d.name), std::string(d.description)});
  return infos;
}

std::unique_ptr<Ops> make_ops(std::string_view device, ThreadPool& pool, DType products) {
  assert(products == DType::f32 || products == DType::bf16);
  std::vector<std::string_view> names;
  for (const Device& d : kDevices) {
    if (d.name == device) {
      if (products == DType::bf16 && !d.bf16)
        throw UsageError(fmt::format("the {} device has no bf16 products; use --device cpu", device));
      return d.make(pool, products);
    }
    names.push_back(d.name);
  }
  fail_unknown("device", device, names);
}

}  // namespace ink
