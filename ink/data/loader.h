// Serves batches from shards, by default in exactly llm.c's order (llmc/dataloader.h): shards and the batches within
// each shuffled by mt19937 seeded 42 + rank, one batch being B·T + 1 consecutive tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/rng.h"
#include "ink/data/shard.h"

namespace ink {

enum class Order : uint8_t {
  sequential,  // as the shards lie
  batches,     // llm.c's shuffle: a batch is B·T + 1 consecutive tokens
  // Every sequence of T + 1 tokens is shuffled on its own, cut anew for each epoch from a random offset below T: rows
  // of a batch have nothing to do with each other, which a small data set needs. All ranks draw the same numbers.
  sequences,
};

// "batches"; and back. order_from_name throws UsageError naming the nearest order.
std::string_view name_of(Order order);
Order order_from_name(std::string_view name);

struct LoaderOptions {
  std::string pattern;     // a path or glob of shards, in the order glob(3) gives
  int64_t batch = 4;       // B
  int64_t context = 1024;  // T
  int64_t vocab = 0;       // tokens must be below this; checked over every shard when the loader is made. 0: no check
  Order order = Order::batches;
  uint32_t seed = 42;  // of the shuffle; llm.c's. With Order::batches the rank is added
  int rank = 0;
  int ranks = 1;
};

// Everything that decides which batches come next, to be saved in a checkpoint. The orders and rng are empty without
// shuffling.
struct LoaderState {
  int64_t shard = 0;   // index in this epoch's order
  int64_t sample = 0;  // next sample of that shard
  int64_t epoch = 0;   // epochs ended, by serving all shards or by reset()
  int64_t offset = 0;  // of the first sequence in the shard, with Order::sequences
  std::vector<int32_t> shard_order;
  std::vector<int32_t> sample_order;
  std::string rng;
  // What the position counts in: restore refuses it for another order, other data or another sample size.
  Order order = Order::sequential;
  int64_t tokens = 0;         // in all shards
  std::string data;           // SHA-256 over each shard's number of tokens and its ends: which data it is
  int64_t sample_tokens = 0;  // ranks·B·T
};

class Loader {
 public:
  // Opens and checks every shard. Throws Error: no file matches (with the pattern), a shard is malformed, holds fewer
  // than ranks·B·T + 1 tokens ("context longer than the data"), or a token is not below vocab (with its position).
  explicit Loader(const LoaderOptions& options);
  ~Loader();

  // Writes the next batch, B·T ids each: targets are the inputs one token on. Allocates only when a shard ends.
  void next(std::vector<int32_t>& inputs, std::vector<int32_t>& targets);

  // Starts a new epoch, as llm.c's dataloader_reset: shuffles on from the generator's present state.
  void reset();

  int64_t tokens() const;   // in all shards
  int64_t batches() const;  // served in one epoch
  int64_t epoch() const;

  LoaderState state() const;
  // Throws Error if the state does not fit the shards (other files, sizes, batch or context).
  void restore(const LoaderState& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink
