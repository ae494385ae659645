// Checkpoints: a Hugging Face model directory beside what the training run needs to go on.
//
//   RUN/step_00001000/  model.safetensors config.json tokenizer.json ...   what any reader of models wants
//                       trainer.safetensors   optimizer state, the loader's order
//                       trainer.json          step, loader position, generators, outlier windows, SHA-256 of every file
//
// A checkpoint exists whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ink/data/loader.h"
#include "ink/model/gpt2.h"
#include "ink/text/tokenizer.h"
#include "ink/train/outlier.h"

namespace ink {

// What a run carries from one step to the next, beside the model and the optimizer's buffers.
struct TrainState {
  int64_t step = 0;  // steps done
  std::string optimizer;
  LoaderState loader;
  OutlierDetector::State loss_outliers;
  OutlierDetector::State norm_outliers;
  double smoothed_loss = 0;
};

struct CheckpointEntry {
  int64_t step;
  std::filesystem::path path;
};

// The checkpoints of a run folder, oldest first. Unfinished ones are not listed. A folder that does not exist has none.
std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& run);

// A model's path as people give it: a run folder stands for its newest checkpoint, everything else for itself. Throws
// Error if nothing is there.
std::filesystem::path resolve_model_path(const std::filesystem::path& path);

std::filesystem::path checkpoint_path(const std::filesystem::path& run, int64_t step);

// Writes run/step_N. tokenizer may be null. Does nothing if that checkpoint exists already. Throws Error; then nothing
// is left behind.
void save_checkpoint(const std::filesystem::path& run, const Gpt2& model, const Tokenizer* tokenizer,
                     const TrainState& state);

// Reads the weights and optimizer state into the model and returns the rest. Every file's SHA-256 is checked first.
// Throws Error with the file and what to do, UsageError if another optimizer's run wrote it.
TrainState load_checkpoint(const std::filesystem::path& path, std::string_view optimizer, Gpt2& model);

// Removes a checkpoint; one that a kill interrupts is not listed any more.
void remove_checkpoint(const CheckpointEntry& checkpoint);

// Removes all but the newest `keep` checkpoints (0: removes none); those at multiples of major_every stay.
void prune_checkpoints(const std::filesystem::path& run, int64_t keep, int64_t major_every);

}  // namespace ink
