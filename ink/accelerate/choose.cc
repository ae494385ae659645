#include "ink/accelerate/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <fstream>
#include <system_error>

#include "ink/base/check.h"
#include "ink/base/suggest.h"

namespace ink::accelerate {

namespace {

constexpr std::string_view kAll = "accelerate", kSome = "accelerate:", kNone = "cpu";

// Tensors of zeros for one operation after another.
class Sizes {
 public:
  explicit Sizes(Ops& ops) : memory_(ops.allocate(bytes_of(DType::f32, kFloats))) {}

  // The operation at its size, on memory that the one before left.
  std::function<void(Ops&)> call(size_t operation) {
    constexpr int64_t kRows = 256, kChannels = 768, kWide = 3072, kVocab = 2048, kParams = 1 << 20;
    used_ = 0;
    const Tensor x = take({kRows, kChannels}), y = take({kRows, kChannels}), wide = take({kRows, kWide});
    const Tensor weight = take({kChannels}), bias = take({kChannels}), mean = take({kRows}), rstd = take({kRows});
    const Tensor matrix = take({kWide, kChannels});
    switch (operation) {
      case add_layernorm_op:
        return [=](Ops& ops) {
          ops.add_layernorm({.residual = x, .weight = weight, .bias = bias, .out = y, .mean = mean, .rstd = rstd});
        };
      case add_layernorm_backward_op: {
        const Tensor sum = take({kRows, kChannels}), dweight = take({kChannels}), dbias = take({kChannels});
        return [=](Ops& ops) {
          ops.add_layernorm_backward({.dsum = y,
                                      .dweight = dweight,
                                      .dbias = dbias,
                                      .dout = x,
                                      .sum = sum,
                                      .weight = weight,
                                      .mean = mean,
                                      .rstd = rstd});
        };
      }
      case gemm_op:
        return [=](Ops& ops) { ops.gemm({.a = x, .b = matrix, .out = wide, .trans_b = true}); };
      case gelu_op:
        return [=](Ops& ops) { ops.gelu({.out = wide, .in = wide}); };
      case classifier_op: {
        const Tensor words = take({kVocab, kChannels}), dwords = take({kVocab, kChannels});
        const Tensor logits = take({kRows, kVocab}), losses = take({kRows});
        const Tensor targets(take({kRows}).data, DType::i32, {kRows});
        return [=](Ops& ops) {
          ops.fill(Tensor(targets.data, DType::f32, {kRows}), 0);
          ops.classifier({.x = x,
                          .weight = words,
                          .targets = targets,
                          .losses = losses,
                          .dx = y,
                          .dweight = dwords,
                          .logits = logits,
                          .vocab = kVocab});
        };
      }
      default:
        break;
    }
    const Tensor param = take({kParams}), grad = take({kParams}), m = take({kParams}), v = take({kParams});
    if (operation == sgd_op) return [=](Ops& ops) { ops.sgd({.param = param, .grad = grad, .m = m, .lr = 1e-3f}); };
    return [=](Ops& ops) { ops.adamw({.param = param, .grad = grad, .m = m, .v = v, .lr = 1e-3f}); };
  }

 private:
  static constexpr int64_t kFloats = int64_t{1} << 24;

  Tensor take(const Shape& shape) {
    const Tensor t(memory_->data() + bytes_of(DType::f32, used_), DType::f32, shape);
    used_ += (t.numel() + 63) / 64 * 64;
    assert(used_ <= kFloats);
    return t;
  }

  std::unique_ptr<Buffer> memory_;
  int64_t used_ = 0;
};

double seconds_of(Ops& ops, const std::function<void(Ops&)>& call) {
  const auto start = std::chrono::steady_clock::now();
  call(ops);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::string device_name(Uses uses) {
  if (uses.all()) return std::string(kAll);
  if (uses.none()) return std::string(kNone);
  std::string name;
  for (size_t i = 0; i < uses.size(); ++i) {
    if (uses[i]) name += fmt::format("{}{}", name.empty() ? kSome : ",", kOperations[i]);
  }
  return name;
}

Uses parse_uses(std::string_view names) {
  Uses uses;
  while (true) {
    const size_t end = names.find(',');
    const std::string_view name = names.substr(0, end);
    const auto* found = std::find(std::begin(kOperations), std::end(kOperations), name);
    if (found == std::end(kOperations)) {
      fail_unknown("operation of accelerate", name, kOperations);
    }
    uses.set(static_cast<size_t>(found - std::begin(kOperations)));
    if (end == std::string_view::npos) return uses;
    names.remove_prefix(end + 1);
  }
}

Uses faster(const Timings& timings) {
  constexpr double kClearly = 0.9;
  Uses uses;
  for (size_t i = 0; i < std::min(timings.size(), uses.size()); ++i) {
    uses[i] = timings[i].accelerate < kClearly * timings[i].cpu;
  }
  return uses;
}

Timings time_operations(Ops& cpu, Ops& accelerate) {
  constexpr int kRuns = 5;  // by turns; the first warms up
  Sizes sizes(cpu);
  Timings timings;
  for (size_t i = 0; i < std::size(kOperations); ++i) {
    const std::function<void(Ops&)> call = sizes.call(i);
    Timing best = {.cpu = 1e9, .accelerate = 1e9};
    for (int run = 0; run < kRuns; ++run) {
      best.cpu = std::min(best.cpu, seconds_of(cpu, call));
      best.accelerate = std::min(best.accelerate, seconds_of(accelerate, call));
    }
    timings.push_back(best);
  }
  return timings;
}

Uses remembered(const std::filesystem::path& file, const std::string& key, const std::function<Timings()>& measure) {
  std::string line;
  for (std::ifstream in(file); std::getline(in, line);) {  // KEY: NAME
    if (!line.starts_with(key + ": ")) continue;
    const std::string_view name = std::string_view(line).substr(key.size() + 2);
    if (name == kAll) return Uses().set();
    if (name == kNone) return {};
    try {
      if (name.starts_with(kSome)) return parse_uses(name.substr(kSome.size()));
    } catch (const UsageError&) {  // of another version, or of somebody's hand
    }
    break;
  }
  const Uses uses = faster(measure());
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  std::ofstream(file, std::ios::app) << key << ": " << device_name(uses) << '\n';
  return uses;
}

}  // namespace ink::accelerate
