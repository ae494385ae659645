#include "ink/bench/machine.h"

#include "ink/base/system.h"
#include "ink/ops/device.h"

namespace ink::bench {

Machine describe_machine(const std::string& version, const std::vector<std::string>& devices, ThreadPool& pool) {
  Machine machine = {.version = version,
                     .cpu = cpu_name(),
                     .threads = pool.threads(),
                     .hardware_threads = hardware_threads(),
                     .memory = physical_memory(),
                     .devices = {},
                     .peaks = {}};
  std::vector<std::string> sources = devices;
  sources.emplace_back("cpu");
  for (const std::string& name : sources) {
    const std::unique_ptr<Ops> ops = make_ops(name, pool);
    if (machine.devices.size() < devices.size()) machine.devices.push_back({name, ops->description()});
    if (machine.peaks.flops == 0) machine.peaks = {.flops = ops->peak_flops(), .memory = ops->peak_bandwidth()};
  }
  return machine;
}

}  // namespace ink::bench
