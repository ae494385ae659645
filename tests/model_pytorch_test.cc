// model: logits, loss, gradients, ten AdamW steps and the initialisation against PyTorch, on every device. The numbers
// come from scripts/make_gpt2_fixture.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ink/format/model_io.h"
#include "ink/format/safetensors.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

const fs::path kFolder = fs::path(INK_SOURCE_DIR) / "tests/fixtures/gpt2";
constexpr int64_t kB = 2, kT = 16;
constexpr size_t kStepTokens = kB * kT;

class PyTorch : public ::testing::TestWithParam<std::string> {
 protected:
  std::vector<float> floats(const std::string& name) const {
    const SafetensorsEntry* entry = expected_.find(name);
    if (entry == nullptr) throw Error("the fixture has no " + name);
    std::vector<float> values(entry->data.size() / sizeof(float));
    read_floats(expected_, name, values);
    return values;
  }
  std::vector<int32_t> ids(const std::string& name, size_t step) const {
    std::vector<int32_t> values(kStepTokens);
    std::memcpy(values.data(), expected_.find(name)->data.data() + step * kStepTokens * sizeof(int32_t),
                kStepTokens * sizeof(int32_t));
    return values;
  }
  std::unique_ptr<Gpt2> load(const Gpt2Options& options) {
    auto model = std::make_unique<Gpt2>(read_model_config(kFolder), options, *ops_);
    model->allocate();
    load_weights(kFolder, *model);
    return model;
  }

  SafetensorsFile expected_{kFolder / "expected.safetensors"};
  ThreadPool pool_{2};
  std::unique_ptr<Ops> ops_ = make_ops(GetParam(), pool_);
};

TEST_P(PyTorch, Logits) {
  const auto model = load({.batch = kB});
  const std::vector<float> expected = floats("logits");
  std::vector<int64_t> rows(kStepTokens);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  std::vector<float> logits(expected.size());
  model->logits(ids("tokens", 0), kB, kT, rows, logits);
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], expected[i], 1e-4) << i;
}

TEST_P(PyTorch, Gradients) {
  const auto model = load({.batch = kB, .training = true});
  const float loss = model->loss_and_backward(ids("tokens", 0), ids("targets", 0), kB, kT);
  EXPECT_NEAR(loss, floats("losses")[0], 1e-5);
  for (const Param& p : model->params()) {
    const std::vector<float> expected = floats("grad." + p.name), actual = values_of(*model, p.grad);
    const auto rows = static_cast<size_t>(p.grad.rows()), cols = static_cast<size_t>(p.grad.cols());
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 1e-3f) << p.name;
    for (size_t i = 0; i < actual.size(); ++i) {
      const size_t at = p.spec->transposed ? i % cols * rows + i / cols : i;
      const float wanted = at < expected.size() ? expected[at] : 0;  // the padding of the vocabulary
      ASSERT_NEAR(actual[i], wanted, 1e-4 * largest) << p.name << " " << i;
    }
  }
}

TEST_P(PyTorch, TenAdamWSteps) {
  const auto model = load({.batch = kB, .training = true, .optimizer_state = {"m", "v"}});
  const std::vector<float> expected = floats("losses");
  ASSERT_EQ(expected.size(), 10u);
  EXPECT_LT(expected[9], expected[0]);
  for (size_t step = 0; step < expected.size(); ++step) {
    const float loss = model->loss_and_backward(ids("tokens", step), ids("targets", step), kB, kT);
    EXPECT_NEAR(loss, expected[step], 1e-4) << "step " << step;
    const double norm = std::sqrt(ops_->sum_squares(model->all_grads()));
    for (const Param& p : model->params()) {
      ops_->adamw({.param = p.weight,
                   .grad = p.grad,
                   .m = p.state[0],
                   .v = p.state[1],
                   .lr = 1e-3f,
                   .beta1 = 0.9f,
                   .beta2 = 0.95f,
                   .eps = 1e-8f,
                   .weight_decay = p.spec->decay ? 0.1f : 0.0f,
                   .grad_scale = static_cast<float>(std::min(1.0, 1.0 / norm)),
                   .step = static_cast<int64_t>(step) + 1});
    }
  }
  // The padding of the vocabulary has learnt nothing.
  const Tensor& wte = model->params().front().weight;
  EXPECT_EQ(ops_->sum_squares(wte.slice_rows(97, wte.rows() - 97)), 0);
}

TEST_P(PyTorch, Initialisation) {
  Gpt2 model(read_model_config(kFolder), {}, *ops_);
  model.allocate();
  Mt19937 rng(42);
  model.init(rng);
  int compared = 0;
  for (const Param& p : model.params()) {
    if (!p.spec->decay) continue;
    const std::vector<float> expected = floats("init." + p.name);
    std::vector<float> values = values_of(model, p.weight);
    if (p.spec->vocab_rows) values.resize(static_cast<size_t>(model.config().vocab * model.config().channels));
    std::vector<float> ends(values.begin(), values.begin() + 8);
    ends.insert(ends.end(), values.end() - 8, values.end());
    ASSERT_EQ(ends.size(), expected.size());
    for (size_t i = 0; i < ends.size(); ++i) EXPECT_NEAR(ends[i], expected[i], 3e-8) << p.name << " " << i;
    ++compared;
  }
  EXPECT_EQ(compared, 2 + 4 * 2);
}

std::vector<std::string> device_names() {
  std::vector<std::string> names;
  for (const DeviceInfo& device : devices()) {
    if (is_present(device.name)) names.push_back(device.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Devices, PyTorch, ::testing::ValuesIn(device_names()), [](const auto& device) {
  std::string name = device.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace ink
