// Options out of range or against each other are refused by name.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "ink/base/check.h"
#include "ink/train/options.h"

namespace ink {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TrainOptions valid() {
  TrainOptions options;
  options.train_shards = "train.bin";
  return options;
}

struct Refusal {
  std::string option;  // what the error must name
  std::function<void(TrainOptions&)> change;
};

TEST(TrainOptions, TheDefaultsAreValid) {
  EXPECT_NO_THROW(valid().validate());
  TrainOptions text;
  text.data = {"text.txt"};
  text.out = "run";
  EXPECT_NO_THROW(text.validate());
  TrainOptions resumed;
  resumed.out = "run";
  resumed.resume = true;
  EXPECT_NO_THROW(resumed.validate());
}

TEST(TrainOptions, TheEndsOfTheRangesAreValid) {
  TrainOptions o = valid();
  o.val_fraction = 0;
  o.batch = 1;
  o.steps = 0;
  o.lr = 0;
  o.optimizer_options = {.beta1 = 0, .beta2 = 0, .epsilon = 1e-30f, .momentum = 0, .weight_decay = 0};
  o.final_lr_fraction = 0;
  o.clip = 0;
  o.val_every = o.sample_every = o.sample_tokens = o.checkpoint_every = o.keep = o.major_every = 0;
  o.val_batches = -1;
  o.log_every = 1;
  EXPECT_NO_THROW(o.validate());
  o.steps = 5;
  o.warmup = 5;
  o.val_fraction = 0.9;
  o.final_lr_fraction = 1;
  EXPECT_NO_THROW(o.validate());
}

TEST(TrainOptions, EveryOptionOutOfRangeIsNamed) {
  const Refusal refusals[] = {
      {"--val-fraction", [](auto& o) { o.val_fraction = -0.01; }},
      {"--val-fraction", [](auto& o) { o.val_fraction = 0.91; }},
      {"--val-fraction", [](auto& o) { o.val_fraction = kNan; }},
      {"--batch", [](auto& o) { o.batch = 0; }},
      {"--batch", [](auto& o) { o.batch = int64_t{1} << 40; }},
      {"--seq-len", [](auto& o) { o.seq_len = -1; }},
      {"--total-batch", [](auto& o) { o.total_batch = -1; }},
      {"--steps", [](auto& o) { o.steps = -2; }},
      {"--steps", [](auto& o) { o.steps = std::numeric_limits<int64_t>::max(); }},
      {"optimizer", [](auto& o) { o.optimizer = "adamW2"; }},
      {"schedule", [](auto& o) { o.schedule = "linea"; }},
      {"--lr", [](auto& o) { o.lr = -1e-3f; }},
      {"--lr", [](auto& o) { o.lr = kNan; }},
      {"--lr", [](auto& o) { o.lr = kInf; }},
      {"--beta1", [](auto& o) { o.optimizer_options.beta1 = 1; }},
      {"--beta1", [](auto& o) { o.optimizer_options.beta1 = -0.1f; }},
      {"--beta2", [](auto& o) { o.optimizer_options.beta2 = 1; }},
      {"--beta2", [](auto& o) { o.optimizer_options.beta2 = kNan; }},
      {"--epsilon", [](auto& o) { o.optimizer_options.epsilon = 0; }},
      {"--epsilon", [](auto& o) { o.optimizer_options.epsilon = kInf; }},
      {"--momentum", [](auto& o) { o.optimizer_options.momentum = 1; }},
      {"--momentum", [](auto& o) { o.optimizer_options.momentum = -1; }},
      {"--weight-decay", [](auto& o) { o.optimizer_options.weight_decay = -0.1f; }},
      {"--weight-decay", [](auto& o) { o.optimizer_options.weight_decay = kInf; }},
      {"--warmup", [](auto& o) { o.warmup = -1; }},
      {"--warmup", [](auto& o) { o.steps = 10, o.warmup = 11; }},
      {"--final-lr-frac", [](auto& o) { o.final_lr_fraction = -0.1f; }},
      {"--final-lr-frac", [](auto& o) { o.final_lr_fraction = 1.1f; }},
      {"--clip", [](auto& o) { o.clip = -1; }},
      {"--clip", [](auto& o) { o.clip = kInf; }},
      {"--skip-loss-z", [](auto& o) { o.skip_loss_z = -1; }},
      {"--skip-loss-z", [](auto& o) { o.skip_loss_z = kNan; }},
      {"--skip-grad-z", [](auto& o) { o.skip_grad_z = -1; }},
      {"--val-every", [](auto& o) { o.val_every = -1; }},
      {"--val-batches", [](auto& o) { o.val_batches = 0; }},
      {"--val-batches", [](auto& o) { o.val_batches = -2; }},
      {"--sample-every", [](auto& o) { o.sample_every = -1; }},
      {"--sample-tokens", [](auto& o) { o.sample_tokens = -1; }},
      {"--temperature", [](auto& o) { o.sampler.temperature = -1; }},
      {"--checkpoint-every", [](auto& o) { o.checkpoint_every = -1; }},
      {"--keep", [](auto& o) { o.keep = -1; }},
      {"--major-every", [](auto& o) { o.major_every = -1; }},
      {"--log-every", [](auto& o) { o.log_every = 0; }},
  };
  for (const Refusal& refusal : refusals) {
    TrainOptions options = valid();
    refusal.change(options);
    try {
      options.validate();
      ADD_FAILURE() << refusal.option << " was accepted";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(refusal.option), std::string::npos) << error.what();
    }
  }
}

TEST(TrainOptions, ContradictionsNameBothOptions) {
  struct Contradiction {
    std::string first, second;
    std::function<void(TrainOptions&)> change;
  };
  const Contradiction contradictions[] = {
      {"--data", "--train-data", [](auto& o) { o = TrainOptions(); }},
      {"--data", "--train-data", [](auto& o) { o.data = {"text"}, o.out = "run"; }},
      {"--data", "--val-data", [](auto& o) { o = {}, o.data = {"text"}, o.out = "run", o.val_shards = "val.bin"; }},
      {"--data", "--out", [](auto& o) { o = TrainOptions(), o.data = {"text"}; }},
      {"--overfit", "--val-data", [](auto& o) { o.overfit = true; }},
      {"--overfit", "--val-fraction",
       [](auto& o) { o = {}, o.data = {"text"}, o.out = "run", o.val_fraction = 0, o.overfit = true; }},
      {"--resume", "--overwrite", [](auto& o) { o.out = "run", o.resume = o.overwrite = true; }},
      {"--resume", "--out", [](auto& o) { o.resume = true; }},
  };
  for (const Contradiction& contradiction : contradictions) {
    TrainOptions options = valid();
    contradiction.change(options);
    try {
      options.validate();
      ADD_FAILURE() << contradiction.first << " with " << contradiction.second << " was accepted";
    } catch (const UsageError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find(contradiction.first), std::string::npos) << what;
      EXPECT_NE(what.find(contradiction.second), std::string::npos) << what;
    }
  }
}

}  // namespace
}  // namespace ink
