// Matrix products: what runs where a device has no library for them, or its library not this product. A block computes
// a square of out, kGemmTile on each side, from tiles of both operands in shared memory; each of its threads 4 x 4
// elements in registers.
//
// Every product without blocks adds in one order, in whatever kernel: k upwards by fma within groups of kGemmGroup,
// from 0, then group after group. So a row of out has the same bits however many rows are computed with it.

GPU_CONSTANT int kGemmStride = kGemmTile + 4;  // floats from one k of a tile to the next: spread over shared memory's
                                               // banks, in whole vectors

struct GemmSums {
  float total[16], group[16];  // of 4 rows x 4 columns
};

// The four elements of an operand that a thread brings to a tile: element (i, k) is in row i of op(a), or column i of
// op(b). They follow each other along k, or along i.
struct GemmFour {
  int i, k;    // of the first, in the tile
  int left;    // how many there are within the operand
  index_t at;  // of the first, in the operand
};

FUNCTION GemmFour gemm_four(int along_k, int first_i, int first_k, int end_i, int end_k, int size_i, int size_k,
                            int thread_id) {
  GemmFour four;
  four.i = along_k ? thread_id / 4 : thread_id % 16 * 4;
  four.k = along_k ? thread_id % 4 * 4 : thread_id / 16;
  const int i = first_i + four.i, k = first_k + four.k;
  four.left = i < end_i && k < end_k ? (along_k ? end_k - k : end_i - i) : 0;
  four.at = along_k ? index_t(i) * size_k + k : index_t(k) * size_i + i;
  return four;
}

FUNCTION float gemm_rounded(float x, int round) { return round ? float_of(bf16_of(x)) : x; }

// Up to four elements of an operand, 0 beyond them.
FUNCTION float4 gemm_load(GLOBAL(const real) p, GemmFour f, int aligned) {
  return f.left > 0 ? load_up_to4(p, f.at, f.left, aligned) : four_of(0);
}

// tile[k][i] = x.
FUNCTION void gemm_keep(SHARED(float) tile, GemmFour four, float4 x, int along_k, int round) {
  const int step = along_k ? kGemmStride : 1, at = four.k * kGemmStride + four.i;
  tile[at] = gemm_rounded(x.x, round);
  tile[at + step] = gemm_rounded(x.y, round);
  tile[at + 2 * step] = gemm_rounded(x.z, round);
  tile[at + 3 * step] = gemm_rounded(x.w, round);
}

FUNCTION GemmSums gemm_zero() {
  GemmSums s;
  UNROLL
  for (int i = 0; i < 16; ++i) s.total[i] = s.group[i] = 0;
  return s;
}

// Adds the product of two tiles, whose first k is a multiple of kGemmDepth.
FUNCTION GemmSums gemm_add_tiles(GemmSums s, SHARED(const float) a_tile, SHARED(const float) b_tile, int first_k,
                                 int thread_id) {
  const int row = thread_id / 16 * 4, col = thread_id % 16 * 4;
  UNROLL
  for (int k = 0; k < kGemmDepth; ++k) {
    const float4 x = load4(a_tile, k * kGemmStride + row), y = load4(b_tile, k * kGemmStride + col);
    const float rows[4] = {x.x, x.y, x.z, x.w}, cols[4] = {y.x, y.y, y.z, y.w};
    UNROLL
    for (int i = 0; i < 16; ++i) s.group[i] = fma(rows[i / 4], cols[i % 4], s.group[i]);
  }
  if ((first_k + kGemmDepth) % kGemmGroup != 0) return s;
  UNROLL
  for (int i = 0; i < 16; ++i) {
    s.total[i] += s.group[i];
    s.group[i] = 0;
  }
  return s;
}

// The sums of the elements that the thread computes, over k from first_k up to end_k.
FUNCTION GemmSums gemm_product(GLOBAL(const real) a, GLOBAL(const real) b, SHARED(float) a_tile, SHARED(float) b_tile,
                               GemmArgs g, int block, int first_k, int end_k, int thread_id) {
  const int first_m = block / g.blocks_n * kGemmTile, first_n = block % g.blocks_n * kGemmTile;
  GemmSums s = gemm_zero();
  for (int k = first_k; k < end_k; k += kGemmDepth) {
    const GemmFour in_a = gemm_four(!g.trans_a, first_m, k, g.m, end_k, g.m, g.k, thread_id);
    const GemmFour in_b = gemm_four(g.trans_b, first_n, k, g.n, end_k, g.n, g.k, thread_id);
    gemm_keep(a_tile, in_a, gemm_load(a, in_a, g.aligned_a), !g.trans_a, g.round);
    gemm_keep(b_tile, in_b, gemm_load(b, in_b, g.aligned_b), g.trans_b, g.round);
    BARRIER();
    s = gemm_add_tiles(s, a_tile, b_tile, k, thread_id);
    BARRIER();
  }
  return s;
}

// What becomes of the sum at i = (row, col) before it is stored or, by accumulate, added.
FUNCTION float gemm_finish(float x, index_t i, int col, GLOBAL(const real) bias, GLOBAL(real) gelu_in,
                           GLOBAL(const real) dgelu_in, GemmArgs g) {
  if (g.has_bias) x += load(bias, col);
  if (g.has_gelu_in) {
    // Of what is stored: whoever computes gelu(gelu_in) again gets the same bits.
    store(gelu_in, i, x);
    x = gelu_of(load(gelu_in, i));
  }
  if (g.has_dgelu_in) x *= gelu_slope(load(dgelu_in, i));
  return x;
}

KERNEL(gemm, GLOBAL(real) out, GLOBAL(const real) a, GLOBAL(const real) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, GLOBAL(const real) dgelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, a_tile, kGemmDepth* kGemmStride);
  SHARED_ARRAY(float, b_tile, kGemmDepth* kGemmStride);
  const GemmSums s = gemm_product(a, b, a_tile, b_tile, g, BLOCK_X, 0, g.k, THREAD);
  const int first_m = BLOCK_X / g.blocks_n * kGemmTile + THREAD / 16 * 4;
  const int first_n = BLOCK_X % g.blocks_n * kGemmTile + THREAD % 16 * 4;
  UNROLL
  for (int j = 0; j < 16; ++j) {
    const int row = first_m + j / 4, col = first_n + j % 4;
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    const float x = gemm_finish(s.total[j] + s.group[j], i, col, bias, gelu_in, dgelu_in, g);
    store(out, i, g.accumulate ? load(out, i) + x : x);
  }
}

// The same for gradients of parameters, which are f32 whatever real is. Of several slices of k each has an out of its
// own; sum_slices adds those.
KERNEL(gemm_gradient, GLOBAL(float) out, GLOBAL(const real) a, GLOBAL(const real) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, GLOBAL(const real) dgelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, a_tile, kGemmDepth* kGemmStride);
  SHARED_ARRAY(float, b_tile, kGemmDepth* kGemmStride);
  const int first_k = BLOCK_Y * g.slice_k, end_k = min(g.k, first_k + g.slice_k);
  const GemmSums s = gemm_product(a, b, a_tile, b_tile, g, BLOCK_X, first_k, end_k, THREAD);
  const int first_m = BLOCK_X / g.blocks_n * kGemmTile + THREAD / 16 * 4;
  const int first_n = BLOCK_X % g.blocks_n * kGemmTile + THREAD % 16 * 4;
  GLOBAL(float) slice = out + index_t(BLOCK_Y) * g.m * g.n;
  UNROLL
  for (int j = 0; j < 16; ++j) {
    const int row = first_m + j / 4, col = first_n + j % 4;
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    const float x = gemm_finish(s.total[j] + s.group[j], i, col, bias, gelu_in, dgelu_in, g);
    slice[i] = g.accumulate ? slice[i] + x : x;
  }
}

// The same of a product that a library has left in out.
KERNEL(gemm_epilogue, GLOBAL(real) out, GLOBAL(const real) bias, GLOBAL(real) gelu_in, GLOBAL(const real) dgelu_in,
       ARGS(GemmArgs) g) {
  const index_t i = index_t(BLOCK_X) * gemm_epilogue_threads + THREAD;
  if (i < index_t(g.m) * g.n) store(out, i, gemm_finish(load(out, i), i, int(i % g.n), bias, gelu_in, dgelu_in, g));
}

// partial(BLOCKS_Y, cols): the sums over a slice of in's rows each, by blocks of 32 columns. Threads of a simd group
// take columns that follow each other, the eight simd groups every eighth row.
KERNEL(column_sums, GLOBAL(float) partial, GLOBAL(const real) in, ARGS(ColumnSumsArgs) a) {
  SHARED_ARRAY(float, sums, column_sums_threads);
  const int col = BLOCK_X * kSimd + THREAD % kSimd;
  const int first = BLOCK_Y * a.slice_rows, end = min(a.rows, first + a.slice_rows);
  float sum = 0;
  if (col < a.cols) {
    for (int row = first + THREAD / kSimd; row < end; row += column_sums_threads / kSimd) {
      sum += load(in, index_t(row) * a.cols + col);
    }
  }
  sums[THREAD] = sum;
  BARRIER();
  if (THREAD >= kSimd || col >= a.cols) return;
  for (int i = THREAD + kSimd; i < column_sums_threads; i += kSimd) sum += sums[i];
  partial[index_t(BLOCK_Y) * a.cols + col] = sum;
}

// out(n) = the sum over slices of partial(slices, n); with accumulate, out += that.
KERNEL(sum_slices, GLOBAL(float) out, GLOBAL(const float) partial, ARGS(SumSlicesArgs) a) {
  const index_t i = index_t(BLOCK_X) * sum_slices_threads + THREAD;
  if (i >= a.n) return;
  float sum = 0;
  for (int slice = 0; slice < a.slices; ++slice) sum += partial[slice * a.n + i];
  out[i] = a.accumulate ? out[i] + sum : sum;
}
