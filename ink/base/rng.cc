#include "ink/base/rng.h"

#include <cmath>
#include <iterator>
#include <numbers>
#include <sstream>
#include <utility>

#include "ink/base/check.h"

namespace ink {

namespace {
constexpr uint32_t kShift = 397;
constexpr uint32_t kLower = 0x7fffffffu;
constexpr uint32_t kUpper = 0x80000000u;

uint32_t twist(uint32_t high, uint32_t low) {
  const uint32_t y = (high & kUpper) | (low & kLower);
  return (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
}

// Box-Muller over 16 uniforms in place, paired i with i + 8: torch's vector order.
void box_muller16(std::span<float, 16> data, float mean, float std) {
  for (int t = 0; t < 8; ++t) {
    const float u1 = 1 - data[t];
    const float u2 = data[t + 8];
    const float radius = std::sqrt(-2 * std::log(u1 + 1e-12f));
    const auto theta = static_cast<float>(2.0 * std::numbers::pi * u2);
    data[t] = radius * std::cos(theta) * std + mean;
    data[t + 8] = radius * std::sin(theta) * std + mean;
  }
}
}  // namespace

void Mt19937::seed(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t j = 1; j < state_.size(); ++j) {
    state_[j] = 1812433253u * (state_[j - 1] ^ (state_[j - 1] >> 30)) + j;
  }
  left_ = 1;
  next_ = 0;
}

void Mt19937::refill() {
  const auto n = static_cast<uint32_t>(state_.size());
  for (uint32_t j = 0; j < n; ++j) state_[j] = state_[(j + kShift) % n] ^ twist(state_[j], state_[(j + 1) % n]);
  left_ = static_cast<int>(n);
  next_ = 0;
}

uint32_t Mt19937::next_u32() {
  if (--left_ <= 0) refill();
  uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  y ^= y >> 18;
  return y;
}

uint64_t Mt19937::next_u64() {
  const uint64_t high = next_u32();
  return (high << 32) | next_u32();
}

float Mt19937::uniform() { return static_cast<float>(next_u32() & ((1u << 24) - 1)) * 0x1p-24f; }

double Mt19937::uniform64() { return static_cast<double>(next_u64() & ((1ull << 53) - 1)) * 0x1p-53; }

void Mt19937::normal(std::span<float> out, float mean, float std) {
  const size_t n = out.size();
  if (n >= 16) {
    for (float& x : out) x = uniform();
    for (size_t i = 0; i + 15 < n; i += 16) box_muller16(std::span<float, 16>(out.data() + i, 16), mean, std);
    if (n % 16 != 0) {  // the tail is drawn again, as a whole block
      const std::span<float, 16> tail(out.data() + n - 16, 16);
      for (float& x : tail) x = uniform();
      box_muller16(tail, mean, std);
    }
    return;
  }
  // Short tensors draw doubles and use both halves of each Box-Muller pair.
  double spare = 0;
  bool has_spare = false;
  for (float& x : out) {
    if (has_spare) {
      x = static_cast<float>(spare * std + mean);
      has_spare = false;
      continue;
    }
    const double u1 = uniform64();
    const double u2 = uniform64();
    const double radius = std::sqrt(-2 * std::log1p(-u2));
    const double theta = 2.0 * std::numbers::pi * u1;
    spare = radius * std::sin(theta);
    has_spare = true;
    x = static_cast<float>(radius * std::cos(theta) * std + mean);
  }
}

void Mt19937::shuffle(std::span<int32_t> values) {
  for (size_t i = values.size(); i-- > 1;) std::swap(values[i], values[next_u32() % (i + 1)]);
}

std::string Mt19937::save() const {
  std::string text = fmt::format("{} {}", left_, next_);
  for (const uint32_t word : state_) fmt::format_to(std::back_inserter(text), " {}", word);
  return text;
}

void Mt19937::restore(std::string_view state) {
  std::istringstream in{std::string(state)};
  Mt19937 read;
  in >> read.left_ >> read.next_;
  for (uint32_t& word : read.state_) in >> word;
  std::string rest;
  const bool whole = !in.fail() && !(in >> rest);
  // next_ counts up while left_ counts down; a fresh seed has left_ 1 and next_ 0.
  const int64_t n = std::ssize(read.state_);
  const bool seeded = read.left_ == 1 && read.next_ == 0;
  const bool position = seeded || (read.left_ >= 1 && read.left_ <= n && read.left_ + int64_t{read.next_} == n + 1);
  check(whole && position, "not a saved mt19937 state: {} characters", state.size());
  *this = read;
}

XorShift::XorShift(uint64_t seed) : state_(seed != 0 ? seed : 0x9e3779b97f4a7c15ull) {}

uint32_t XorShift::next_u32() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1dull) >> 32);
}

float XorShift::uniform() { return static_cast<float>(next_u32() >> 8) / 16777216.0f; }

}  // namespace ink
