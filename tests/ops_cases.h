// The operations of ops.h at odd sizes, with every flag: what every device is tested with, and the tensors of a case.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ink/ops/ops.h"

namespace ink {

inline constexpr int kSizes[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 100, 129};
inline constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

enum class Role { input, inout, output, scratch };

struct Arg {
  std::string name;
  Shape shape;
  Role role = Role::input;
  int32_t ids = 0;  // above 0: the tensor holds ids in [0, ids)
  float scale = 1;  // standard deviation of the random elements
};

class Arguments;

struct Case {
  std::string name;
  std::vector<Arg> args;
  std::function<void(Ops&, const Arguments&)> run;
  int64_t length = 1;  // terms of the longest sum
  float scale = 1;     // a magnitude below which errors are not counted relative to the result
};

// The tensors of a case, each between guard elements, each with the same content for the same case.
class Arguments {
 public:
  Arguments(const Case& c, int misaligned) : args_(c.args) {
    for (size_t i = 0; i < args_.size(); ++i) {
      const Arg& arg = args_[i];
      const size_t n = arg.shape.numel();
      std::vector<float>& memory = memory_.emplace_back(n + 2 * kGuard + 16, std::bit_cast<float>(kGuardBits));
      const size_t aligned = (64 - reinterpret_cast<uintptr_t>(memory.data() + kGuard) % 64) % 64 / sizeof(float);
      start_.push_back(kGuard + aligned + misaligned);
      std::mt19937 generator(static_cast<uint32_t>(17 + i));
      std::normal_distribution<float> normal(0, arg.scale);
      for (size_t j = 0; j < n; ++j) {
        float value = std::numeric_limits<float>::quiet_NaN();  // outputs are not to be read
        if (arg.ids > 0) {
          const auto id = static_cast<int32_t>(generator() % arg.ids);
          std::memcpy(&value, &id, sizeof value);
        } else if (arg.role == Role::input || arg.role == Role::inout) {
          value = normal(generator);
          if (arg.name == "v") value = std::abs(value);
        }
        memory[start_[i] + j] = value;
      }
    }
  }

  Tensor operator[](const std::string& name) const {
    for (size_t i = 0; i < args_.size(); ++i) {
      if (args_[i].name == name) return device_ != nullptr ? on_device_[i] : tensor(i);
    }
    ADD_FAILURE() << "no argument " << name;
    return {};
  }
  Tensor tensor(size_t i) const {
    auto* data = const_cast<float*>(memory_[i].data() + start_[i]);
    return {data, args_[i].ids > 0 ? DType::i32 : DType::f32, args_[i].shape};
  }
  // On a device with memory of its own: copies the tensors there, each between guards; operator[] then gives those,
  // until download brings them back. As real, the types that GpuOps gives activations and weights: f32, or bf16, to
  // which the elements here must have been rounded.
  void upload(Ops& ops, DType real = DType::f32);
  void download(Ops& ops);
  // Rounds the tensors that are stored as bf16 there.
  void round_to(DType real);

  size_t size() const { return args_.size(); }
  const Arg& arg(size_t i) const { return args_[i]; }

  // The guards hold what they held, and so do the inputs.
  void expect_intact(const Arguments& before) const {
    for (size_t i = 0; i < args_.size(); ++i) {
      const size_t end = start_[i] + args_[i].shape.numel();
      const auto is_guard = [](float x) { return std::bit_cast<uint32_t>(x) == kGuardBits; };
      const std::vector<float>& memory = memory_[i];
      EXPECT_TRUE(std::all_of(memory.begin(), memory.begin() + start_[i], is_guard)) << args_[i].name << ": before";
      EXPECT_TRUE(std::all_of(memory.begin() + end, memory.end(), is_guard)) << args_[i].name << ": behind";
      if (args_[i].role != Role::input) continue;
      EXPECT_EQ(std::memcmp(tensor(i).data, before.tensor(i).data, tensor(i).bytes()), 0) << args_[i].name;
    }
  }

 private:
  static constexpr size_t kGuard = 32;
  static constexpr uint32_t kGuardBits = 0x7fc0beefu;  // a NaN of its own

  DType dtype_on_device(size_t i, DType real) const;

  std::vector<Arg> args_;
  std::vector<std::vector<float>> memory_;
  std::vector<size_t> start_;
  std::unique_ptr<Buffer> device_;
  std::vector<Tensor> on_device_;
};

using Check = std::function<void(const Case&)>;

void embed_cases(const Check& check);
void layernorm_cases(const Check& check);
void layernorm_backward_cases(const Check& check);
void gemm_cases(const Check& check);
void large_gemm_cases(const Check& check);  // of many tiles, in every direction
void gelu_cases(const Check& check);
void attention_cases(const Check& check);
void attention_backward_cases(const Check& check);
void classifier_cases(const Check& check);
void optimizer_cases(const Check& check);
void cast_cases(const Check& check);  // to what out is on the device
void sum_squares_cases(const Check& check);

// How the tensors of add_layernorm may be given.
enum class Sum { apart, over_residual, over_in, no_in, no_in_over_residual, none };
Case layernorm_case(int64_t N, int64_t C, Sum kind);
Case classifier_case(int64_t N, int64_t C, int64_t vocab, int64_t padded, int64_t chunk, bool gradient,
                     bool accumulate = true, float scale = 1);

}  // namespace ink
