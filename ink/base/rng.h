// Seeded random numbers, identical on every machine, with a state that checkpoints save.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ink {

// The Mersenne Twister as PyTorch's CPU generator uses it: the same seed gives torch's numbers
// (llm.c's llmc/rand.h; M. Matsumoto, T. Nishimura 1998).
class Mt19937 {
 public:
  explicit Mt19937(uint32_t seed = 5489) { this->seed(seed); }

  void seed(uint32_t seed);
  uint32_t next_u32();
  uint64_t next_u64();  // the first draw is the high word
  float uniform();      // [0, 1), 24 bits
  double uniform64();   // [0, 1), 53 bits

  // Fills out with N(mean, std²) exactly as torch.Tensor.normal_ does for a contiguous CPU tensor of out.size()
  // elements (up to the last bits of the C library's logf, cosf and sinf).
  void normal(std::span<float> out, float mean, float std);

  // Shuffles in place, in llm.c's order: for i from n-1 down to 1, swap with u32 % (i + 1).
  void shuffle(std::span<int32_t> values);

  // The whole state as text, and back. restore throws Error if the text is not a state.
  std::string save() const;
  void restore(std::string_view state);

  bool operator==(const Mt19937&) const = default;

 private:
  void refill();

  std::array<uint32_t, 624> state_{};
  int left_ = 1;
  uint32_t next_ = 0;
};

// xorshift64* (Vigna 2014): the sampler's generator, as in llm.c. One word of state.
class XorShift {
 public:
  explicit XorShift(uint64_t seed);  // any seed, 0 included
  uint32_t next_u32();
  float uniform();  // [0, 1), 24 bits
  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

}  // namespace ink
