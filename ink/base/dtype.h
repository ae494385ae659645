// Element types of tensors and files.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ink {

// q8_0 and q4_0 are GGUF's: blocks of 32 elements along the last dimension, with one scale each.
enum class DType : uint8_t { f32, f16, bf16, i32, q8_0, q4_0 };

// Elements that are stored together, which a row is a multiple of.
constexpr int64_t block_of(DType dtype) { return dtype == DType::q8_0 || dtype == DType::q4_0 ? 32 : 1; }

// Bytes of one block: of one element, for types without blocks.
constexpr size_t block_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::q8_0:
      return 2 + 32;  // f16 scale d, 32 x int8: d · q
    case DType::q4_0:
      return 2 + 16;  // f16 scale d, 16 bytes: low nibbles are elements 0 to 15, high ones 16 to 31: d · (q - 8)
  }
  return 0;
}

// Bytes of n elements, a whole number of blocks.
constexpr size_t bytes_of(DType dtype, int64_t n) {
  return static_cast<size_t>(n / block_of(dtype)) * block_bytes(dtype);
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::q8_0:
      return "q8_0";
    case DType::q4_0:
      return "q4_0";
  }
  return "?";
}

// bfloat16 is the upper half of a float: widening is exact, narrowing rounds to nearest even and keeps NaN.
constexpr float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);  // quiet NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// The same, up or down by 16 random bits: the mean of all is the value.
constexpr uint16_t f32_to_bf16(float value, uint16_t random) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return f32_to_bf16(value);  // infinity, NaN
  return static_cast<uint16_t>((bits + random) >> 16);
}

// Random bits for an element, by its index alone: a hash (Wellons' lowbias32, https://nullprogram.com/blog/2018/07/31).
constexpr uint32_t random_bits(uint32_t seed, uint64_t index) {
  uint32_t x = seed ^ static_cast<uint32_t>(index) ^ (static_cast<uint32_t>(index >> 32) * 0x9e3779b9u);
  for (const uint32_t factor : {0x7feb352du, 0x846ca68bu}) {
    x ^= x >> 16;
    x *= factor;
    x ^= x >> 15;
  }
  return x ^ x >> 16;
}

// IEEE 754 half precision; both directions handle subnormals, infinities and NaN. Narrowing rounds to nearest even.
constexpr float f16_to_f32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(subnormal) | sign);
}

constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {                                               // subnormal: let the adder round
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;              // ulp(0.5) = 2^-24
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace ink
