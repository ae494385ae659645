// From a device's name to its Ops. The table in device.cc is the only place that knows which backends are built.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/ops/ops.h"

namespace ink {

struct DeviceInfo {
  std::string name;         // what --device takes
  std::string description;  // one line
};

// The devices of this build, the default first.
std::vector<DeviceInfo> devices();

// Whether this machine has what a device of this build needs: false for a GPU without its driver, and for names that
// are not in the table.
bool is_present(std::string_view device);

// The Ops of a device ("cpu", "ref", "cuda", and "cuda:1" for the second GPU). pool runs its loops and must outlive it.
// Throws UsageError for a name that is not in the table, naming those that are. products is f32, or bf16: gemm and
// classifier then round what they multiply to bf16 and sum in f32; UsageError where the device cannot. Throws Error
// where it is not present, saying what is missing.
std::unique_ptr<Ops> make_ops(std::string_view device, ThreadPool& pool, DType products = DType::f32);

}  // namespace ink
