// The simd groups' matrices of Metal's library, for the emulator, from Apple's documented semantics. Each of the 32
// threads of a simd group holds two elements; they meet in shuffles. Included within the kernels' namespace.
#pragma once

struct ulong2 {
  explicit ulong2(unsigned long xy) : x(xy), y(xy) {}
  unsigned long x, y;
};

struct simdgroup_float8x8 {
  float lane[2];
};

// What the threads of a block show each other; between two shuffles nobody writes.
inline float& simdgroup_shown(int thread_id, int i) {
  static thread_local float shown[1024][4];
  return shown[thread_id][i];
}

template <class T, int columns, int rows>
simdgroup_float8x8 make_filled_simdgroup_matrix(T value) {
  static_assert(columns == 8 && rows == 8);
  return {{value, value}};
}

// Element (row, column) is at from[row · stride + column], or of the transposed the other way round.
inline index_t simdgroup_at(int i, unsigned long stride, ulong2 origin, bool transpose) {
  const int element = THREAD % kSimd * 2 + i, row = element / 8, column = element % 8;
  const index_t at = index_t(origin.y * stride + origin.x);
  return at + (transpose ? index_t(column * stride) + row : index_t(row * stride) + column);
}
inline void simdgroup_load(simdgroup_float8x8& to, SHARED(const float) from, unsigned long stride = 8,
                           ulong2 origin = ulong2(0), bool transpose = false) {
  for (int i = 0; i < 2; ++i) to.lane[i] = from[simdgroup_at(i, stride, origin, transpose)];
}
inline void simdgroup_store(simdgroup_float8x8 from, SHARED(float) to, unsigned long stride = 8,
                            ulong2 origin = ulong2(0), bool transpose = false) {
  for (int i = 0; i < 2; ++i) to[simdgroup_at(i, stride, origin, transpose)] = from.lane[i];
}

// sum = a · b + before.
inline void simdgroup_multiply_accumulate(simdgroup_float8x8& sum, simdgroup_float8x8& a, simdgroup_float8x8& b,
                                          simdgroup_float8x8& before) {
  for (int i = 0; i < 2; ++i) {
    simdgroup_shown(THREAD, i) = a.lane[i];
    simdgroup_shown(THREAD, 2 + i) = b.lane[i];
  }
  shuffle_xor(0, 1);
  const int first = THREAD / kSimd * kSimd;
  float result[2];
  for (int i = 0; i < 2; ++i) {
    const int element = THREAD % kSimd * 2 + i, row = element / 8, column = element % 8;
    result[i] = before.lane[i];
    for (int k = 0; k < 8; ++k) {
      const int left = row * 8 + k, right = k * 8 + column;
      result[i] = fma(simdgroup_shown(first + left / 2, left % 2), simdgroup_shown(first + right / 2, 2 + right % 2),
                      result[i]);
    }
  }
  shuffle_xor(0, 1);
  for (int i = 0; i < 2; ++i) sum.lane[i] = result[i];
}
