// Element by element: filling, GELU, rounding.

KERNEL(fill, GLOBAL(float) out, ARGS(FillArgs) a) {
  const index_t i = index_t(BLOCK_X) * fill_threads + THREAD;
  if (i < a.n) out[i] = a.value;
}

// 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
FUNCTION float gelu_of(float x) {
  const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1 + tanh(inner));
}

// Its derivative. Where x² would overflow it is to be multiplied by 1 - t², which is 0 there.
FUNCTION float gelu_slope(float x) {
  const float t = tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)), square = min(x * x, 1e30f);
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608028654f * (1 + 3 * 0.044715f * square);
}

KERNEL(gelu, GLOBAL(real) out, GLOBAL(const real) in, ARGS(GeluArgs) a) {
  const index_t i = index_t(BLOCK_X) * gelu_threads + THREAD;
  if (i < a.n) store(out, i, gelu_of(load(in, i)));
}

// As random_bits of ink/base/dtype.h.
FUNCTION uint random_bits_of(uint seed, index_t index) {
  uint x = seed ^ uint(index) ^ (uint(index >> 32) * 0x9e3779b9u);
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) ^ ((x ^ x >> 15) >> 16);
  x *= 0x846ca68bu;
  x ^= x >> 15;
  return x ^ x >> 16;
}

FUNCTION float up_or_down(float x, uint random) {
  const uint bits = bits_of_float(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? x : float_of_bits((bits + (random & 0xffffu)) & 0xffff0000u);
}

KERNEL(cast, GLOBAL(real) out, GLOBAL(const float) in, ARGS(CastArgs) a) {
  const index_t i = index_t(BLOCK_X) * cast_threads + THREAD;
  if (i >= a.n) return;
  const float x = in[i];
  // A float is not rounded.
  store(out, i, a.seed != 0 && sizeof(real) == 2 ? up_or_down(x, random_bits_of(a.seed, i)) : x);
}
