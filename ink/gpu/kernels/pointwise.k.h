// Element by element: filling, GELU.

KERNEL(fill, GLOBAL(float) out, ARGS(FillArgs) a) {
  const index_t i = index_t(BLOCK_X) * fill_threads + THREAD;
  if (i < a.n) out[i] = a.value;
}

// 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
FUNCTION float gelu_of(float x) {
  const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1 + tanh(inner));
}

KERNEL(gelu, GLOBAL(real) out, GLOBAL(const real) in, ARGS(GeluArgs) a) {
  const index_t i = index_t(BLOCK_X) * gelu_threads + THREAD;
  if (i < a.n) store(out, i, gelu_of(load(in, i)));
}
