// The dimensions of a GPT-2 and the presets for them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ink {

struct Gpt2Config {
  int64_t context = 1024;  // T, the longest sequence
  int64_t vocab = 50257;   // V
  int64_t layers = 12;     // L
  int64_t heads = 12;      // NH
  int64_t channels = 768;  // C, a multiple of heads
  float eps = 1e-5f;       // of layer norm
  bool tied = true;        // the classifier's weights are the token embedding's; otherwise lm_head.weight

  // Rows of the embedding in memory: V rounded up to a multiple of 128, as llm.c does. The padding is zero, takes no
  // part in the softmax and is not written to files that can do without it.
  int64_t padded_vocab() const { return (vocab + 127) / 128 * 128; }
  int64_t head_size() const { return channels / heads; }
  int64_t parameters() const;  // without padding

  // FLOPs of forward and backward for one token, as PaLM (Chowdhery et al. 2022, appendix B) and llm.c count them: six
  // a parameter, and attention's products over the causal half of a sequence of seq_len.
  double flops_per_token(int64_t seq_len) const;

  // Throws Error (prefixed with where) if a dimension is out of its range or channels is not a multiple of heads.
  void validate(std::string_view where) const;

  bool operator==(const Gpt2Config&) const = default;
};

struct Preset {
  std::string_view name;
  std::string_view description;
  Gpt2Config config;
};
std::span<const Preset> presets();

// A preset's name ("gpt2-medium"), or llm.c's descriptors "d12", "gpt2:d12" (depth) and "gpt3:c768" (channels).
// Throws UsageError naming the nearest preset.
Gpt2Config config_from_name(std::string_view name);

}  // namespace ink
