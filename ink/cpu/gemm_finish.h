// What follows a matrix product, done while its tile is still in the cache; and the sums that go with one.
#pragma once

#include "ink/ops/ops.h"

namespace ink::cpu {

// Rows [m, m + rows) and columns [n, n + cols) of the output.
struct Tile {
  int64_t m, n, rows, cols;
};

// Adds the bias and applies GELU or its slope to a tile whose product lies in out, or in gelu_in where that is given.
void finish_tile(const Gemm& g, const Tile& tile);

// out[i] += Σ_k a[k·stride + i] over rows values of k, for i in [0, n).
void add_column_sums(float* out, const float* a, int64_t rows, int64_t stride, int64_t n);

}  // namespace ink::cpu
