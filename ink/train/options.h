// Everything that decides a training run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ink/infer/sampler.h"
#include "ink/model/gpt2.h"
#include "ink/train/optimizer.h"

namespace ink {

// The defaults are llm.c's where llm.c has the option, except for what keeps a run from being lost or from filling the
// disk: out, checkpoint_every and keep.
struct TrainOptions {
  // Data: text (files and folders), which is encoded into out/data first, or shards (globs).
  std::vector<std::filesystem::path> data;
  std::string train_shards;
  std::string val_shards;
  std::string tokenizer;      // a name or a directory; empty: the checkpoint's, the shards', or the model's own
  double val_fraction = 0.1;  // of the text, at its end

  // Model: a preset or llm.c descriptor, a checkpoint directory or run folder, or an llm.c .bin file.
  std::string model;
  std::optional<int64_t> layers, heads, channels, context, vocab;

  // Batches.
  int64_t batch = 4;        // B, sequences in one forward pass
  int64_t seq_len = 0;      // T; 0: the model's context
  int64_t total_batch = 0;  // tokens in one step; 0: B·T, no accumulation
  int64_t steps = -1;       // -1: one epoch
  std::string order;        // "batches", "sequences", "sequential"; empty: sequences for --data, else batches
  bool overfit = false;     // train on the first validation batch only, for debugging

  // Optimization.
  std::string optimizer = "adamw";
  OptimizerOptions optimizer_options;
  std::string schedule = "cosine";
  float lr = 3e-4f;
  int64_t warmup = 0;
  float final_lr_fraction = 1;
  float clip = 1;         // by global norm; 0: none
  float skip_loss_z = 0;  // skip steps whose loss has a z-score above this; 0: never
  float skip_grad_z = 0;  // the same for the gradient norm
  uint32_t seed = 42;     // of the initialisation, the loader's shuffle (seed + rank) and the samples
  Recompute recompute = Recompute::none;
  bool stochastic_rounding = false;  // of the weights, on devices that store them as bf16 (see Cast)

  // Evaluation.
  int64_t val_every = 20;     // 0: never
  int64_t val_batches = 20;   // -1: the whole validation set
  int64_t sample_every = 20;  // 0: never; otherwise after the last step too
  int64_t sample_tokens = 64;
  SamplerOptions sampler;  // its seed is not used: samples are seeded with seed + step

  // Output.
  std::filesystem::path out;       // the run folder; empty: nothing is saved
  int64_t checkpoint_every = 250;  // also at the end; 0: never
  int64_t keep = 3;                // checkpoints; 0: all
  int64_t major_every = 0;         // checkpoints at multiples of this are never removed; 0: none
  bool resume = false;
  bool overwrite = false;     // replace a run that out holds already
  int64_t log_every = 10;     // steps between plain lines
  bool dry_run = false;       // plan the memory only: nothing is written or allocated
  std::string saved_options;  // written to out/run.toml: the options as the program would read them again

  // Throws UsageError for values out of range and for options that contradict each other.
  void validate() const;
};

}  // namespace ink
