// Which operations Accelerate does and which the cpu device, as part of a device's name: "accelerate:gemm,adamw" leaves
// all but these two to cpu. "auto" measures once on a machine, and is such a name from then on: a choice made anew with
// every start could give a run that goes on, or is repeated, other bits.
#pragma once

#include <bitset>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/ops/ops.h"

namespace ink::accelerate {

// Those that Accelerate has something for.
enum Operation : size_t {
  add_layernorm_op,
  add_layernorm_backward_op,
  gemm_op,
  gelu_op,
  classifier_op,
  adamw_op,
  sgd_op
};
inline constexpr std::string_view kOperations[] = {
    "add_layernorm", "add_layernorm_backward", "gemm", "gelu", "classifier", "adamw", "sgd"};
using Uses = std::bitset<std::size(kOperations)>;  // those that Accelerate does

// "accelerate" for all of them, "cpu" for none, else "accelerate:" and the operations' names, in their order.
std::string device_name(Uses uses);
// From the names behind the colon. Throws UsageError for others.
Uses parse_uses(std::string_view names);

struct Timing {
  double cpu = 0, accelerate = 0;  // seconds of the same work
};
using Timings = std::vector<Timing>;  // in kOperations' order

// What Accelerate does in less than nine tenths of the time: it must win by more than what two measurements differ by,
// as the cpu device's bits do not change with macOS.
Uses faster(const Timings& timings);

// Each operation on both, at sizes of a small GPT-2's step: the best of some runs. About half a second.
Timings time_operations(Ops& cpu, Ops& accelerate);

// What the file says of this key, which describes the machine; or else what measure says, which is then added to the
// file. A file that cannot be read or written is no error: the next start measures again.
Uses remembered(const std::filesystem::path& file, const std::string& key, const std::function<Timings()>& measure);

}  // namespace ink::accelerate
