#include "ink/tensor/cast.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ink {

namespace {

constexpr int64_t kBlock = 32;

uint16_t load_u16(const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

void store_u16(std::byte* to, uint16_t bits) { std::memcpy(to, &bits, sizeof bits); }

void q8_0_to_f32(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int64_t i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

void q4_0_to_f32(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int64_t i = 0; i < kBlock / 2; ++i) {
    const auto pair = static_cast<int>(block[2 + i]);
    out[i] = d * static_cast<float>((pair & 15) - 8);
    out[i + kBlock / 2] = d * static_cast<float>((pair >> 4) - 8);
  }
}

// A float to an integer type, with values outside (of a block with NaN or infinity) brought inside: no undefined cast.
float within(float x, float low, float high) { return x >= low ? std::min(x, high) : low; }

void f32_to_q8_0(const float* x, std::byte* block) {
  float largest = 0;
  for (int64_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const float d = largest / 127, inverse = d != 0 ? 1 / d : 0;
  store_u16(block, f32_to_f16(d));
  for (int64_t i = 0; i < kBlock; ++i) {
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(within(std::round(x[i] * inverse), -128, 127)));
  }
}

void f32_to_q4_0(const float* x, std::byte* block) {
  float largest = 0;  // with its sign
  for (int64_t i = 0; i < kBlock; ++i) {
    if (std::abs(x[i]) > std::abs(largest)) largest = x[i];
  }
  const float d = largest / -8, inverse = d != 0 ? 1 / d : 0;
  store_u16(block, f32_to_f16(d));
  const auto nibble = [&](float value) { return static_cast<uint8_t>(within(value * inverse + 8.5f, 0, 15)); };
  for (int64_t i = 0; i < kBlock / 2; ++i) {
    block[2 + i] = static_cast<std::byte>(nibble(x[i]) | nibble(x[i + kBlock / 2]) << 4);
  }
}

}  // namespace

void to_f32(DType dtype, const std::byte* from, std::span<float> out) {
  const auto n = static_cast<int64_t>(out.size());
  const auto bytes = static_cast<int64_t>(block_bytes(dtype));
  assert(n % block_of(dtype) == 0);
  switch (dtype) {
    case DType::f32:
      if (n > 0) std::memcpy(out.data(), from, out.size_bytes());
      return;
    case DType::f16:
      for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = f16_to_f32(load_u16(from + i * bytes));
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = bf16_to_f32(load_u16(from + i * bytes));
      return;
    case DType::q8_0:
      for (int64_t i = 0; i < n / kBlock; ++i) q8_0_to_f32(from + i * bytes, out.data() + i * kBlock);
      return;
    case DType::q4_0:
      for (int64_t i = 0; i < n / kBlock; ++i) q4_0_to_f32(from + i * bytes, out.data() + i * kBlock);
      return;
    case DType::i32:
      break;
  }
  assert(false);
}

void from_f32(std::span<const float> from, DType dtype, std::byte* to) {
  const auto n = static_cast<int64_t>(from.size());
  const auto bytes = static_cast<int64_t>(block_bytes(dtype));
  assert(n % block_of(dtype) == 0);
  switch (dtype) {
    case DType::f32:
      if (n > 0) std::memcpy(to, from.data(), from.size_bytes());
      return;
    case DType::f16:
      for (int64_t i = 0; i < n; ++i) store_u16(to + i * bytes, f32_to_f16(from[static_cast<size_t>(i)]));
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) store_u16(to + i * bytes, f32_to_bf16(from[static_cast<size_t>(i)]));
      return;
    case DType::q8_0:
      for (int64_t i = 0; i < n / kBlock; ++i) f32_to_q8_0(from.data() + i * kBlock, to + i * bytes);
      return;
    case DType::q4_0:
      for (int64_t i = 0; i < n / kBlock; ++i) f32_to_q4_0(from.data() + i * kBlock, to + i * bytes);
      return;
    case DType::i32:
      break;
  }
  assert(false);
}

}  // namespace ink
