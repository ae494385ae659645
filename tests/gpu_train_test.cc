// Training on the GPUs of this machine, as on the processor, and twice the same. Without one there is nothing to run:
// whole steps on the emulator are among the Trainer's tests.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/gpu_devices.h"
#include "tests/train_fixtures.h"

namespace ink {
namespace {

class GpuTraining : public TrainingRun {
 protected:
  // Of every step, as metrics.jsonl has them.
  std::vector<double> losses(const std::string& device, DType dtype) {
    TrainOptions o = small("run-" + device + "-" + std::string(name_of(dtype)));
    o.steps = kSteps;
    train(o, 1, device.c_str(), dtype);
    std::vector<double> all;
    for (const nlohmann::json& line : read_metrics(o.out)) {
      if (line.contains("loss")) all.push_back(line.at("loss"));
    }
    EXPECT_EQ(all.size(), static_cast<size_t>(kSteps)) << device;
    return all;
  }
  static constexpr int64_t kSteps = 10;

  static void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double bound) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], bound) << "step " << i + 1;
  }
};

TEST_F(GpuTraining, TenStepsOnAGpuAreTheProcessors) {
  if (present_gpus().empty()) GTEST_SKIP() << "no GPU that this build knows";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<double> expected = losses("cpu", dtype);
    EXPECT_LT(expected.back(), expected.front());
    // Where activations are stored as bf16, the processor rounds the inputs of products alone.
    for (const std::string& gpu : present_gpus()) {
      SCOPED_TRACE(gpu + ", " + std::string(name_of(dtype)));
      expect_near(losses(gpu, dtype), expected, dtype == DType::f32 ? 1e-4 : 3e-2);
    }
  }
}

// A second run of the same steps on the same GPU gives the same bits.
TEST_F(GpuTraining, AGpuRepeatsItsBits) {
  if (present_gpus().empty()) GTEST_SKIP() << "no GPU that this build knows";
  for (const std::string& gpu : present_gpus()) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const std::string name = gpu + "-" + std::string(name_of(dtype));
      TrainOptions first = small("first-" + name), second = small("second-" + name);
      first.steps = second.steps = kSteps;
      EXPECT_EQ(train(first, 1, gpu.c_str(), dtype).weights, train(second, 1, gpu.c_str(), dtype).weights) << name;
    }
  }
}

}  // namespace
}  // namespace ink
