// The C++ that CUDA, the Metal Shading Language and host compilers have in common, for kernels that are written once.
// The same kernels/*.k.h compile as CUDA, as Metal, and as host C++ for the emulator, which checks what a GPU lets
// pass.
//
//   KERNEL(scale, GLOBAL(real) out, GLOBAL(const real) in, ARGS(ScaleArgs) a) {
//     const index_t i = index_t(BLOCK_X) * scale_threads + THREAD;
//     if (i < a.n) store(out, i, load(in, i) * a.factor);
//   }
//
// Rules, each for a reason (docs/kernels.md has them with examples):
// - Buffers first, one args struct last (ARGS). A buffer that may be absent is never asked: args say whether it is.
// - GLOBAL(T), SHARED(T) for every pointer: Metal has address spaces, the emulator bounds.
// - SHARED_ARRAY in kernel bodies only, not within loops; THREAD, BLOCK_X, ... in kernel bodies only: helpers
//   (FUNCTION) get them as arguments.
// - BARRIER is for all threads of a block: no return before one. It orders shared and device memory.
// - Blocks have one dimension of threads, NAME_threads of them (kernels.def), a multiple of the 32 of a simd group.
// - real is float or bf16: read by load, written by store, computed as float. No double, no atomics on floats, no
//   templates, no recursion, no function pointers; no order between blocks: what needs one is two launches.
// - Metal has words of its own, which are no names for anything else: thread, device, constant, kernel, vertex.
#pragma once

#include "ink/gpu/args.h"

// --- What each compiler calls it. ---

#if defined(__METAL_VERSION__)

#include <metal_stdlib>
using namespace metal;

#define GLOBAL(T) device T*
#define SHARED(T) threadgroup T*
#define SHARED_ARRAY(T, name, count) alignas(16) threadgroup T name[count]
#define ARGS(T) constant T&
#define FUNCTION static inline
#define GPU_CONSTANT constant constexpr
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device)
#define UNROLL _Pragma("unroll")

// Metal binds buffers by number: each parameter gets its place.
#define INK_B1(n, p) p [[buffer(n)]]
#define INK_P1(n, p) INK_B1(n, p)
#define INK_P2(n, p, ...) INK_B1(n, p), INK_P1(n + 1, __VA_ARGS__)
#define INK_P3(n, p, ...) INK_B1(n, p), INK_P2(n + 1, __VA_ARGS__)
#define INK_P4(n, p, ...) INK_B1(n, p), INK_P3(n + 1, __VA_ARGS__)
#define INK_P5(n, p, ...) INK_B1(n, p), INK_P4(n + 1, __VA_ARGS__)
#define INK_P6(n, p, ...) INK_B1(n, p), INK_P5(n + 1, __VA_ARGS__)
#define INK_P7(n, p, ...) INK_B1(n, p), INK_P6(n + 1, __VA_ARGS__)
#define INK_P8(n, p, ...) INK_B1(n, p), INK_P7(n + 1, __VA_ARGS__)
#define INK_P9(n, p, ...) INK_B1(n, p), INK_P8(n + 1, __VA_ARGS__)
#define INK_P10(n, p, ...) INK_B1(n, p), INK_P9(n + 1, __VA_ARGS__)
#define INK_P11(n, p, ...) INK_B1(n, p), INK_P10(n + 1, __VA_ARGS__)
#define INK_P12(n, p, ...) INK_B1(n, p), INK_P11(n + 1, __VA_ARGS__)
#define INK_PICK(a, b, c, d, e, f, g, h, i, j, k, l, macro, ...) macro
#define INK_NUMBERED(...)                                                                                          \
  INK_PICK(__VA_ARGS__, INK_P12, INK_P11, INK_P10, INK_P9, INK_P8, INK_P7, INK_P6, INK_P5, INK_P4, INK_P3, INK_P2, \
           INK_P1, none)                                                                                           \
  (0, __VA_ARGS__)
#define KERNEL(name, ...)                                                                          \
  kernel void name(INK_NUMBERED(__VA_ARGS__), uint3 ink_thread [[thread_position_in_threadgroup]], \
                   uint3 ink_block [[threadgroup_position_in_grid]], uint3 ink_blocks [[threadgroups_per_grid]])
#define THREAD int(ink_thread.x)
#define BLOCK_X int(ink_block.x)
#define BLOCK_Y int(ink_block.y)
#define BLOCK_Z int(ink_block.z)
#define BLOCKS_X int(ink_blocks.x)

FUNCTION float shuffle_xor(float x, int mask) { return simd_shuffle_xor(x, ushort(mask)); }
FUNCTION float float_of_bits(uint bits) { return as_type<float>(bits); }
FUNCTION uint bits_of_float(float x) { return as_type<uint>(x); }
FUNCTION float float_of_half_bits(ushort bits) { return float(as_type<half>(bits)); }
FUNCTION int dot4(uint a, uint b, int sum) {
  const char4 x = as_type<char4>(a), y = as_type<char4>(b);
  return sum + x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}
FUNCTION float4 load4(SHARED(const float) p, index_t i) { return *reinterpret_cast<SHARED(const float4)>(p + i); }
#define INK_VECTOR(V, p, i) (*reinterpret_cast<device V*>(p + i))

#elif defined(__CUDACC__)

#include <cuda_fp16.h>

#define GLOBAL(T) T*
#define SHARED(T) T*
#define SHARED_ARRAY(T, name, count) __shared__ __align__(16) T name[count]
#define ARGS(T) const __grid_constant__ T
#define FUNCTION static __device__ __forceinline__
#define GPU_CONSTANT static constexpr
#define BARRIER() __syncthreads()
#define UNROLL _Pragma("unroll")
#define KERNEL(name, ...) static __global__ void __launch_bounds__(name##_threads) name(__VA_ARGS__)
#define THREAD int(threadIdx.x)
#define BLOCK_X int(blockIdx.x)
#define BLOCK_Y int(blockIdx.y)
#define BLOCK_Z int(blockIdx.z)
#define BLOCKS_X int(gridDim.x)

INK_GPU_BEGIN
using uint = unsigned int;
using ushort = unsigned short;
using uchar = unsigned char;
FUNCTION float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
FUNCTION float float_of_bits(uint bits) { return __uint_as_float(bits); }
FUNCTION uint bits_of_float(float x) { return __float_as_uint(x); }
FUNCTION float float_of_half_bits(ushort bits) { return __half2float(__ushort_as_half(bits)); }
FUNCTION int dot4(uint a, uint b, int sum) { return __dp4a(int(a), int(b), sum); }
INK_GPU_END
#define INK_VECTOR(V, p, i) (*reinterpret_cast<V*>(p + i))

#else  // the emulator

#include <bit>
#include <cmath>

#include "ink/base/dtype.h"
#include "ink/gpu/emu/block.h"

#define GLOBAL(T) ::ink::emu::Pointer<T>
#define SHARED(T) ::ink::emu::Pointer<T>
#define SHARED_ARRAY(T, name, count) const ::ink::emu::Pointer<T> name = ::ink::emu::shared_array<T>(count, __LINE__)
#define ARGS(T) const T&
#define FUNCTION inline
#define GPU_CONSTANT inline constexpr
#define BARRIER() ::ink::emu::barrier(__FILE__, __LINE__)
#define UNROLL
#define KERNEL(name, ...) inline void name(__VA_ARGS__)
#define THREAD ::ink::emu::place().thread
#define BLOCK_X ::ink::emu::place().x
#define BLOCK_Y ::ink::emu::place().y
#define BLOCK_Z ::ink::emu::place().z
#define BLOCKS_X ::ink::emu::place().blocks_x

INK_GPU_BEGIN
using std::exp, std::log, std::sqrt, std::tanh, std::fma, std::fabs, std::isfinite, std::rint, std::pow;
using uint = unsigned int;
using ushort = unsigned short;
using uchar = unsigned char;
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) ushort4 {
  ushort x, y, z, w;
};
FUNCTION int min(int a, int b) { return b < a ? b : a; }
FUNCTION int max(int a, int b) { return a < b ? b : a; }
FUNCTION index_t min(index_t a, index_t b) { return b < a ? b : a; }
FUNCTION index_t max(index_t a, index_t b) { return a < b ? b : a; }
// As the hardware's: of a NaN and a number, the number.
FUNCTION float min(float a, float b) { return std::fmin(a, b); }
FUNCTION float max(float a, float b) { return std::fmax(a, b); }
FUNCTION float shuffle_xor(float x, int mask, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return ::ink::emu::shuffle_xor(x, mask, file, line);
}
FUNCTION float float_of_bits(uint bits) { return std::bit_cast<float>(bits); }
FUNCTION uint bits_of_float(float x) { return std::bit_cast<uint>(x); }
FUNCTION float float_of_half_bits(ushort bits) { return f16_to_f32(bits); }
// sum + the products of the four signed bytes of a and b.
FUNCTION int dot4(uint a, uint b, int sum) {
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<signed char>(a >> i & 255) * static_cast<signed char>(b >> i & 255);
  return sum;
}
INK_GPU_END
#define INK_VECTOR(V, p, i) \
  (*reinterpret_cast<V*>((p).vector(i, 4)))  // NOLINT(bugprone-macro-parentheses): V is a type

#endif

// --- What all have alike. ---

INK_GPU_BEGIN

// Storage of 16 bits; all arithmetic is float's.
struct bf16 {
  ushort bits;
};
struct f16 {
  ushort bits;
};

FUNCTION float float_of(bf16 x) { return float_of_bits(uint(x.bits) << 16); }
FUNCTION float float_of(f16 x) { return float_of_half_bits(x.bits); }
// To the nearest, ties to even; NaN stays NaN.
FUNCTION bf16 bf16_of(float x) {
  const uint bits = bits_of_float(x);
  bf16 result;
  result.bits = (bits & 0x7fffffffu) > 0x7f800000u ? ushort((bits >> 16) | 0x40u)
                                                   : ushort((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  return result;
}

// By their bits: C++ has no copy of a struct from one address space to another.
FUNCTION float load(GLOBAL(const float) p, index_t i) { return p[i]; }
FUNCTION float load(GLOBAL(const bf16) p, index_t i) { return float_of_bits(uint(p[i].bits) << 16); }
FUNCTION float load(GLOBAL(const f16) p, index_t i) { return float_of_half_bits(p[i].bits); }
FUNCTION void store(GLOBAL(float) p, index_t i, float x) { p[i] = x; }
FUNCTION void store(GLOBAL(bf16) p, index_t i, float x) { p[i].bits = bf16_of(x).bits; }

// Four at a time, where p + i is a multiple of the four's bytes: sizes of rows and the args must have made sure of it.
FUNCTION float4 load4(GLOBAL(const float) p, index_t i) { return INK_VECTOR(const float4, p, i); }
FUNCTION float4 load4(GLOBAL(const bf16) p, index_t i) {
  const ushort4 four = INK_VECTOR(const ushort4, p, i);
  float4 result;
  result.x = float_of_bits(uint(four.x) << 16);
  result.y = float_of_bits(uint(four.y) << 16);
  result.z = float_of_bits(uint(four.z) << 16);
  result.w = float_of_bits(uint(four.w) << 16);
  return result;
}
FUNCTION void store4(GLOBAL(float) p, index_t i, float4 x) { INK_VECTOR(float4, p, i) = x; }
FUNCTION void store4(GLOBAL(bf16) p, index_t i, float4 x) {
  ushort4 four;
  four.x = bf16_of(x.x).bits;
  four.y = bf16_of(x.y).bits;
  four.z = bf16_of(x.z).bits;
  four.w = bf16_of(x.w).bits;
  INK_VECTOR(ushort4, p, i) = four;
}

// The sum and the largest of a simd group's values, in every thread of it.
FUNCTION float simd_total(float x) {
  for (int mask = kSimd / 2; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
  return x;
}
FUNCTION float simd_largest(float x) {
  for (int mask = kSimd / 2; mask > 0; mask /= 2) x = max(x, shuffle_xor(x, mask));
  return x;
}

// The same of a block. scratch holds a float for each of its simd groups; it may be used again after the next BARRIER.
FUNCTION float block_total(float x, SHARED(float) scratch, int thread_id, int threads) {
  x = simd_total(x);
  if (thread_id % kSimd == 0) scratch[thread_id / kSimd] = x;
  BARRIER();
  float total = 0;
  for (int i = 0; i < threads / kSimd; ++i) total += scratch[i];
  return total;
}
FUNCTION float block_largest(float x, SHARED(float) scratch, int thread_id, int threads) {
  x = simd_largest(x);
  if (thread_id % kSimd == 0) scratch[thread_id / kSimd] = x;
  BARRIER();
  float largest = scratch[0];
  for (int i = 1; i < threads / kSimd; ++i) largest = max(largest, scratch[i]);
  return largest;
}

INK_GPU_END
