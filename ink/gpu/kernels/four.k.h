// Four elements at a time: of rows whose length and addresses let them be loaded so (aligned), and with the same lines
// of any others, where the last four may be fewer.

FUNCTION float4 four(float x, float y, float z, float w) {
  float4 result;
  result.x = x;
  result.y = y;
  result.z = z;
  result.w = w;
  return result;
}
FUNCTION float4 four_of(float x) { return four(x, x, x, x); }
FUNCTION float4 add4(float4 a, float4 b) { return four(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
FUNCTION float4 mul4(float4 a, float4 b) { return four(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
FUNCTION float4 mul_add4(float4 a, float4 b, float4 c) {
  return four(fma(a.x, b.x, c.x), fma(a.y, b.y, c.y), fma(a.z, b.z, c.z), fma(a.w, b.w, c.w));
}

// The sum of the first n.
FUNCTION float sum_of(float4 a, int n) {
  float sum = a.x;
  if (n > 1) sum += a.y;
  if (n > 2) sum += a.z;
  if (n > 3) sum += a.w;
  return sum;
}

// Elements [i, i + n), n at least 1 and of it at most 4; the others are 0.
FUNCTION float4 load_up_to4(GLOBAL(const float) p, index_t i, int n, int aligned) {
  if (aligned != 0 && n >= 4) return load4(p, i);
  return four(p[i], n > 1 ? p[i + 1] : 0.0f, n > 2 ? p[i + 2] : 0.0f, n > 3 ? p[i + 3] : 0.0f);
}
FUNCTION float4 load_up_to4(GLOBAL(const bf16) p, index_t i, int n, int aligned) {
  if (aligned != 0 && n >= 4) return load4(p, i);
  return four(load(p, i), n > 1 ? load(p, i + 1) : 0.0f, n > 2 ? load(p, i + 2) : 0.0f, n > 3 ? load(p, i + 3) : 0.0f);
}
FUNCTION void store_up_to4(GLOBAL(float) p, index_t i, int n, int aligned, float4 x) {
  if (aligned != 0 && n >= 4) return store4(p, i, x);
  p[i] = x.x;
  if (n > 1) p[i + 1] = x.y;
  if (n > 2) p[i + 2] = x.z;
  if (n > 3) p[i + 3] = x.w;
}
FUNCTION void store_up_to4(GLOBAL(bf16) p, index_t i, int n, int aligned, float4 x) {
  if (aligned != 0 && n >= 4) return store4(p, i, x);
  store(p, i, x.x);
  if (n > 1) store(p, i + 1, x.y);
  if (n > 2) store(p, i + 2, x.z);
  if (n > 3) store(p, i + 3, x.w);
}

// What a real keeps of a float.
#ifdef INK_REAL_BF16
FUNCTION float kept(float x) { return float_of(bf16_of(x)); }
#else
FUNCTION float kept(float x) { return x; }
#endif
FUNCTION float4 kept4(float4 x) { return four(kept(x.x), kept(x.y), kept(x.z), kept(x.w)); }
