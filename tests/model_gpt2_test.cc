// model: GPT-2's memory, its passes and its errors, on the reference device.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/model_helpers.h"

namespace ink {
namespace {

constexpr int64_t kB = 2, kT = 12;

Param param(Gpt2& model, std::string_view name) {
  return *std::ranges::find_if(model.params(), [&](const Param& p) { return p.name == name; });
}

class Gpt2Test : public ::testing::Test {
 protected:
  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("ref", pool_);
  const std::vector<int32_t> tokens_ = random_ids(kB * kT, kTiny.vocab, 1);
  const std::vector<int32_t> targets_ = random_ids(kB * kT, kTiny.vocab, 2);
};

TEST_F(Gpt2Test, ParametersLieLayerMajorInOneRange) {
  const auto model = make_model(*ops_, {.batch = kB, .training = true, .optimizer_state = {"m", "v"}});
  const std::byte* next = model->params().front().weight.data;
  int64_t elements = 0, last_layer = 0;
  for (const Param& p : model->params()) {
    EXPECT_EQ(p.name, param_name(*p.spec, p.layer));
    EXPECT_EQ(p.weight.data, next) << p.name;
    next += (p.weight.bytes() + 63) / 64 * 64;
    EXPECT_EQ(p.grad.shape, p.weight.shape);
    EXPECT_EQ(p.state.size(), 2u);
    EXPECT_EQ(p.state[1].data - p.weight.data,
              model->params().front().state[1].data - model->params().front().weight.data);
    if (p.spec->per_layer) {
      EXPECT_GE(p.layer, last_layer);
      last_layer = p.layer;
    }
    elements += p.spec->vocab_rows ? kTiny.vocab * kTiny.channels : p.weight.numel();
  }
  EXPECT_EQ(elements, kTiny.parameters());
  EXPECT_EQ(model->params().size(), 4u + 12 * 3);
  EXPECT_EQ(model->all_grads().bytes(), model->plan().bytes("gradients"));
  EXPECT_EQ(model->plan().bytes("gradients"), model->plan().bytes("parameters"));
  EXPECT_EQ(model->plan().bytes("optimizer v"), model->plan().bytes("parameters"));
}

TEST_F(Gpt2Test, GradientsMatchFiniteDifferences) {
  const auto model = make_model(*ops_, {.batch = kB, .training = true});
  model->loss_and_backward(tokens_, targets_, kB, kT);
  for (const Param& p : model->params()) {
    // The slope of the loss along a gradient is the gradient's length.
    const std::vector<float> grad = values_of(*model, p.grad), weight = values_of(*model, p.weight);
    const double length = std::sqrt(std::inner_product(grad.begin(), grad.end(), grad.begin(), 0.0));
    ASSERT_GT(length, 1e-4) << p.name;
    const double step = 2e-3;
    const auto loss_at = [&](double distance) {
      std::vector<float> moved = weight;
      for (size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(distance * grad[i] / length);
      ops_->upload(p.weight, moved.data());
      model->loss(tokens_, targets_, kB, kT);  // the mean again, in double
      return std::accumulate(model->losses().begin(), model->losses().end(), 0.0) / (kB * kT);
    };
    const double slope = (loss_at(step) - loss_at(-step)) / (2 * step);
    ops_->upload(p.weight, weight.data());
    EXPECT_NEAR(slope / length, 1, 5e-3 + 3e-5 / length) << p.name << " of length " << length;
  }
}

// Over two micro-batches of different sizes, the second added to the first: loss and gradients.
std::vector<float> two_passes(Gpt2& model, int64_t t) {
  std::vector<float> values;
  for (const int64_t b : {kB, int64_t{1}}) {
    const auto seed = static_cast<uint32_t>(t * 8 + b);
    values.push_back(model.loss_and_backward(random_ids(b * t, model.config().vocab, seed),
                                             random_ids(b * t, model.config().vocab, seed + 1), b, t,
                                             {.grad_scale = 0.5f, .accumulate = b == 1}));
  }
  const std::vector<float> grads = values_of(model, model.all_grads());
  values.insert(values.end(), grads.begin(), grads.end());
  return values;
}

TEST(Recomputing, GivesTheSameBitsInLessMemory) {
  Gpt2Config odd = kTiny;
  odd.context = 67;  // more than one block of keys and queries
  Gpt2Config one_layer = kTiny;
  one_layer.layers = 1;
  for (const std::string device : {"ref", "cpu"}) {
    for (const Gpt2Config& config : {kTiny, odd, one_layer}) {
      std::vector<float> expected[2];
      size_t bytes = 0;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        const std::unique_ptr<Ops> ops = make_ops(device, pool);
        for (const Recompute recompute : {Recompute::none, Recompute::block}) {
          const auto model = make_model(*ops, {.batch = kB, .training = true, .recompute = recompute}, config);
          const int64_t sizes[] = {config.context, config.context - 5};
          for (size_t i = 0; i < 2; ++i) {
            const std::vector<float> values = two_passes(*model, sizes[i]);
            if (expected[i].empty()) expected[i] = values;
            EXPECT_EQ(values, expected[i]) << device << " " << threads << " threads, size " << sizes[i];
          }
          if (recompute == Recompute::none) {
            bytes = model->plan().bytes();
          } else if (config.layers > 1) {
            EXPECT_LT(model->plan().bytes(), bytes);
          }
        }
      }
    }
  }
}

TEST_F(Gpt2Test, SmallerStepsUseTheSameMemory) {
  const auto large = make_model(*ops_, {.batch = 4, .training = true});
  large->loss_and_backward(random_ids(48, kTiny.vocab, 3), random_ids(48, kTiny.vocab, 4), 4, 12);  // leaves its marks
  const std::pair<int64_t, int64_t> sizes[] = {{1, 7}, {3, 5}, {4, 1}, {1, 1}, {4, 12}};
  for (const auto& [b, t] : sizes) {
    const auto exact = make_model(*ops_, {.batch = b, .context = t, .training = true});
    const std::vector<int32_t> tokens = random_ids(b * t, kTiny.vocab, 5), targets = random_ids(b * t, kTiny.vocab, 6);
    EXPECT_EQ(large->loss_and_backward(tokens, targets, b, t), exact->loss_and_backward(tokens, targets, b, t));
    EXPECT_EQ(large->losses().size(), static_cast<size_t>(b * t));
    EXPECT_EQ(values_of(*large, large->all_grads()), values_of(*exact, exact->all_grads()));
  }
}

TEST_F(Gpt2Test, LossIsTheSameWithAndWithoutGradients) {
  const auto training = make_model(*ops_, {.batch = kB, .training = true});
  const auto inference = make_model(*ops_, {.batch = kB});
  const float loss = training->loss(tokens_, targets_, kB, kT);
  EXPECT_EQ(ops_->sum_squares(training->all_grads()), 0);
  EXPECT_EQ(training->loss_and_backward(tokens_, targets_, kB, kT), loss);
  EXPECT_EQ(inference->loss(tokens_, targets_, kB, kT), loss);
  const std::span<const float> losses = inference->losses();
  ASSERT_EQ(losses.size(), static_cast<size_t>(kB * kT));
  EXPECT_FLOAT_EQ(std::accumulate(losses.begin(), losses.end(), 0.0f) / (kB * kT), loss);
  EXPECT_LT(inference->plan().bytes(), training->plan().bytes("parameters") + training->plan().bytes("activations"));
}

TEST_F(Gpt2Test, InferenceKeepsOneLayersActivations) {
  Gpt2Config deep = kTiny;
  deep.layers = 9;
  const Gpt2 shallow_model(kTiny, {.batch = kB}, *ops_), deep_model(deep, {.batch = kB}, *ops_);
  EXPECT_EQ(shallow_model.plan().bytes("activations"), deep_model.plan().bytes("activations"));
}

TEST_F(Gpt2Test, GradientsAccumulateScaled) {
  const auto model = make_model(*ops_, {.batch = kB, .training = true});
  model->loss_and_backward(tokens_, targets_, kB, kT);
  const std::vector<float> once = values_of(*model, model->all_grads());
  // Two halves of the batch, each half of the gradient. The first writes over what is there.
  for (const Param& p : model->params()) ops_->fill(p.grad, std::numeric_limits<float>::quiet_NaN());
  for (int64_t b = 0; b < kB; ++b) {
    const auto row = [&](const std::vector<int32_t>& ids) {
      return std::span(ids).subspan(static_cast<size_t>(b * kT), kT);
    };
    model->loss_and_backward(row(tokens_), row(targets_), 1, kT, {.grad_scale = 1.0f / kB, .accumulate = b > 0});
  }
  const std::vector<float> twice = values_of(*model, model->all_grads());
  for (size_t i = 0; i < once.size(); ++i) ASSERT_NEAR(once[i], twice[i], 1e-6) << i;
}

TEST_F(Gpt2Test, LossesOfSeveralPassesAreReadAtOnce) {
  const auto one = make_model(*ops_, {.batch = kB, .training = true});
  const auto model = make_model(*ops_, {.batch = kB, .training = true, .passes = 3});
  for (const int64_t t : {kT, kT - 5}) {  // a shorter step's losses lie closer together
    double sum = 0;
    std::vector<float> losses;
    for (int pass = 0; pass < 3; ++pass) {
      const std::vector<int32_t> tokens = random_ids(kB * t, kTiny.vocab, pass);
      sum += one->loss_and_backward(tokens, tokens, kB, t, {.accumulate = pass > 0});
      losses.insert(losses.end(), one->losses().begin(), one->losses().end());
      model->backward(tokens, tokens, kB, t, {.accumulate = pass > 0});
    }
    EXPECT_EQ(model->mean_loss(), sum / 3);
    EXPECT_EQ(std::vector<float>(model->losses().begin(), model->losses().end()), losses);
    EXPECT_EQ(values_of(*model, model->all_grads()), values_of(*one, one->all_grads()));
  }
}

TEST_F(Gpt2Test, RefusesAStepOfTooManyPasses) {
  for (const int64_t passes : {int64_t{0}, int64_t{1} << 24}) {
    expect_error([&] { Gpt2(kTiny, {.batch = kB, .training = true, .passes = passes}, *ops_); },
                 {fmt::format("{} passes", passes), "--total-batch"});
  }
}

TEST_F(Gpt2Test, LogitsAgreeWithTheLosses) {
  const auto model = make_model(*ops_, {.batch = kB});
  model->loss(tokens_, targets_, kB, kT);
  const std::vector<float> losses(model->losses().begin(), model->losses().end());
  const std::vector<int64_t> rows = {23, 0, 11, 12, 0};
  std::vector<float> logits(rows.size() * 29);
  model->logits(tokens_, kB, kT, rows, logits);
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::span<const float> row = std::span(logits).subspan(i * 29, 29);
    double sum = 0;
    for (const float value : row) sum += std::exp(value);
    const auto position = static_cast<size_t>(rows[i]);
    EXPECT_NEAR(std::log(sum) - row[static_cast<size_t>(targets_[position])], losses[position], 1e-5) << rows[i];
  }
}

TEST_F(Gpt2Test, LogitsOfMoreRowsThanAChunk) {
  Gpt2Config config = kTiny;
  config.context = 300;
  config.layers = 1;
  const auto model = make_model(*ops_, {}, config);
  const std::vector<int32_t> tokens = random_ids(300, config.vocab, 8);
  std::vector<int64_t> rows(300);
  std::iota(rows.rbegin(), rows.rend(), 0);
  std::vector<float> all(300 * 29), one(29);
  model->logits(tokens, 1, 300, rows, all);
  for (const int64_t row : {0, 43, 44, 255, 256, 299}) {
    model->logits(tokens, 1, 300, std::vector<int64_t>{row}, one);
    const auto begin = all.begin() + (299 - row) * 29;
    EXPECT_TRUE(std::equal(one.begin(), one.end(), begin)) << row;
  }
}

TEST_F(Gpt2Test, InitFillsTheSchema) {
  const auto model = make_model(*ops_, {.training = true});
  Mt19937 rng(42);
  model->init(rng);
  for (const Param& p : model->params()) {
    const std::vector<float> values = values_of(*model, p.weight);
    const size_t drawn = p.spec->vocab_rows ? static_cast<size_t>(kTiny.vocab * kTiny.channels) : values.size();
    const auto all_are = [&](float wanted) {
      return std::ranges::all_of(values, [&](float x) { return x == wanted; });
    };
    if (p.spec->init == Init::ones) {
      EXPECT_TRUE(all_are(1)) << p.name;
    } else if (p.spec->init == Init::zeros) {
      EXPECT_TRUE(all_are(0)) << p.name;
    } else {
      const double squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
      const double std = p.spec->init == Init::normal ? 0.02 : 0.02 / std::sqrt(6.0);
      EXPECT_NEAR(std::sqrt(squares / static_cast<double>(drawn)), std, 0.25 * std) << p.name;
      EXPECT_TRUE(
          std::all_of(values.begin() + static_cast<int64_t>(drawn), values.end(), [](float x) { return x == 0; }));
    }
  }
}

TEST_F(Gpt2Test, FirstNonFiniteNamesTheTensor) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto model = make_model(*ops_, {.batch = kB, .training = true});
  const auto find = [&](std::string_view name) { return param(*model, name); };
  model->loss_and_backward(tokens_, targets_, kB, kT);
  EXPECT_EQ(model->first_non_finite(), "");

  ops_->fill(find("h.2.ln_1.bias").grad, nan);
  EXPECT_EQ(model->first_non_finite(), "gradient of h.2.ln_1.bias");

  ops_->fill(find("h.1.ln_1.bias").weight, 10);
  ops_->fill(find("h.1.attn.c_attn.weight").weight, 3e38f);  // finite, its products are not
  model->loss(tokens_, targets_, kB, kT);
  EXPECT_EQ(model->first_non_finite(), "h.1.qkv");

  ops_->fill(find("h.1.attn.c_attn.weight").weight, nan);
  EXPECT_EQ(model->first_non_finite(), "h.1.attn.c_attn.weight");
}

TEST_F(Gpt2Test, FirstNonFiniteLooksPastWhatLayersShare) {
  const auto model = make_model(*ops_, {.batch = kB, .training = true, .recompute = Recompute::block});
  ops_->fill(param(*model, "h.1.ln_2.bias").weight, 10);
  ops_->fill(param(*model, "h.1.mlp.c_fc.weight").weight, 3e38f);
  model->loss(tokens_, targets_, kB, kT);
  EXPECT_EQ(model->first_non_finite(), "h.2.residual1");
}

TEST_F(Gpt2Test, RefusesWhatDoesNotFitTheMemory) {
  const Gpt2Config huge = config_from_name("gpt3:c12288");
  Gpt2 model(huge, {.batch = 64, .training = true, .optimizer_state = {"m", "v"}}, *ops_);
  EXPECT_GT(model.plan().bytes(), size_t{4} * 4 * 170'000'000'000);
  expect_error([&] { model.allocate(); },
               {human_bytes(model.plan().bytes()), human_bytes(ops_->memory()), "ref", "--batch", "--seq-len"});
}

TEST_F(Gpt2Test, RefusesOptionsThatDoNotFit) {
  const auto make = [&](const Gpt2Options& options, const Gpt2Config& config = kTiny) { Gpt2(config, options, *ops_); };
  expect_error([&] { make({.context = 13}); }, {"context 13", "12"});
  expect_error([&] { make({.context = -1}); }, {"context -1"});
  expect_error([&] { make({.batch = 0}); }, {"batch of 0"});
  expect_error([&] { make({.batch = int64_t{1} << 60}); }, {"out of range"});
  Gpt2Config bad = kTiny;
  bad.heads = 3;
  expect_error([&] { make({}, bad); }, {"multiple of heads (3)"});
}

TEST_F(Gpt2Test, RefusesBatchesThatDoNotFit) {
  const auto model = make_model(*ops_, {.batch = kB, .context = 8, .training = true});
  const auto ids = [](int64_t count) { return std::vector<int32_t>(static_cast<size_t>(count), 1); };
  expect_error([&] { model->loss(ids(24), ids(24), 3, 8); }, {"batch of 3", "2"});
  expect_error([&] { model->loss(ids(18), ids(18), 2, 9); }, {"sequence of 9", "8"});
  expect_error([&] { model->loss(ids(15), ids(16), 2, 8); }, {"15 tokens", "2 x 8"});
  expect_error([&] { model->loss(ids(16), ids(17), 2, 8); }, {"17 targets", "2 x 8"});
  std::vector<int32_t> bad = ids(16);
  for (const int32_t id : {29, -1, std::numeric_limits<int32_t>::max()}) {
    bad[5] = id;
    expect_error([&] { model->loss(bad, ids(16), 2, 8); }, {fmt::format("token {} at position 5", id), "29"});
    expect_error([&] { model->loss_and_backward(ids(16), bad, 2, 8); }, {fmt::format("target {} at position 5", id)});
  }
  std::vector<float> logits(29);
  expect_error([&] { model->logits(ids(16), 2, 8, std::vector<int64_t>{16}, logits); }, {"row 16"});
}

}  // namespace
}  // namespace ink
