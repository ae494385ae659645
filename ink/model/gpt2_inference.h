// GPT-2's forward pass for inference: over weights of any type, with a key-value cache, for many sequences at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ink/model/config.h"
#include "ink/model/kv_cache.h"
#include "ink/ops/ops.h"
#include "ink/tensor/plan.h"

namespace ink {

// A matrix as it lies in its file: f32, f16, bf16, q8_0 or q4_0, (out,in), or (in,out) where trans is false.
struct Linear {
  Tensor weight, bias;
  bool trans = true;  // gemm's trans_b
};

// What a forward pass reads, in the device's memory. Vectors and wpe are f32.
struct InferenceWeights {
  struct Block {
    Tensor ln1, ln1_bias, ln2, ln2_bias;
    Linear qkv, att_proj, fc, fc_proj;
  };
  Gpt2Config config;
  Tensor wte, wpe;  // (V,C), (maxT,C)
  std::vector<Block> blocks;
  Tensor lnf, lnf_bias;
  Tensor head;                                      // (V,C): wte, unless the model is untied
  std::vector<std::shared_ptr<const void>> owners;  // of the memory that the tensors point into

  // Bytes that one token's forward pass reads.
  size_t bytes_per_token() const;
};

struct InferenceOptions {
  int64_t context = 0;    // T, the longest sequence; 0 for the config's
  int64_t sequences = 1;  // in the cache at a time
  int64_t pages = 0;      // of the cache (KvCache); 0 for what all sequences can fill
  int64_t rows = 256;     // tokens that are computed at a time: longer prompts are cut
};

class Gpt2Inference {
 public:
  // Allocates activations and cache. Throws Error if the options do not fit the config, or the memory the device. ops
  // must outlive the model.
  Gpt2Inference(InferenceWeights weights, const InferenceOptions& options, Ops& ops);
  ~Gpt2Inference();

  const Gpt2Config& config() const;
  const InferenceOptions& options() const;
  const InferenceWeights& weights() const;
  Ops& ops() const;
  KvCache& cache();

  // The bytes of activations and cache.
  static size_t bytes(const Gpt2Config& config, const InferenceOptions& options);

  // New tokens of one sequence.
  struct Tokens {
    int32_t sequence;              // of cache()
    std::span<const int32_t> ids;  // at least one, each in [0, vocab)
  };

  // Appends the tokens to their sequences, each of which comes once, and gives what follows: logits holds vocab floats
  // for the last token of each. The bits of a sequence's logits do not depend on what else is in the batch, nor on how
  // its tokens are cut into calls, but on the devices of matrix libraries: for f32 weights on cpu-NAME, for all but
  // quantized ones on accelerate, cuda and metal. Throws Error, with the cache unchanged, for an id out of range and as
  // KvCache::extend does.
  void forward(std::span<const Tokens> batch, std::span<float> logits);

  // Tokens, the target that follows each, and where its loss, -log p, goes. Negative targets are left out: their loss
  // is 0.
  struct Scored {
    Tokens tokens;
    std::span<const int32_t> targets;
    std::span<float> losses;
  };

  // Appends the tokens to their sequences, each of which comes once. Bits and errors are as forward's; a target out of
  // range is an error as well.
  void losses(std::span<const Scored> batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink
