#include "ink/bench/machine.h"

#include "ink/base/system.h"
#include "ink/ops/device.h"

namespace ink::bench {

Machine describe_machine(const std::string& version, const std::vector<std::string>& devices, ThreadPool& pool,
                         DType products) {
  Machine machine = {.version = version,
                     .cpu = cpu_name(),
                     .threads = pool.threads(),
                     .hardware_threads = hardware_threads(),
                     .memory = physical_memory(),
                     .devices = {},
                     .peaks = {}};
  const auto measure = [&](Ops& ops) {
    if (machine.peaks.flops == 0) machine.peaks = {.flops = ops.peak_flops(), .memory = ops.peak_bandwidth()};
  };
  for (const std::string& name : devices) {
    const std::unique_ptr<Ops> ops = make_ops(name, pool, products);
    machine.devices.push_back({name, ops->description()});
    measure(*ops);
  }
  measure(*make_ops("cpu", pool));
  return machine;
}

}  // namespace ink::bench
