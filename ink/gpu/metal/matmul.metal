// Matrix products by the simd groups' matrix instructions, which only Metal has: as gemm.k.h's, with the same tiles and
// epilogues. A block's eight simd groups have 16 x 32 elements of its square each, in matrices of 8 x 8. Operands are
// widened to float in shared memory, so that the products are exact and their sums float's: Apple's GPUs are as fast
// with it as with 16 bits up to the M4.

// Of the block's square: tile[row][col], kGemmStride from row to row.
FUNCTION void matmul_square(SHARED(float) tile, GLOBAL(const real) a, GLOBAL(const real) b, GemmArgs g, int block,
                            int thread_id) {
  SHARED(float) a_tile = tile;  // as gemm_keep leaves them: [k][row], [k][col]
  SHARED(float) b_tile = tile + kGemmDepth * kGemmStride;
  const int first_m = block / g.blocks_n * kGemmTile, first_n = block % g.blocks_n * kGemmTile;
  const int group = thread_id / kSimd, row = group / 2 * 16, col = group % 2 * 32;
  simdgroup_float8x8 sum[8];
  UNROLL
  for (int i = 0; i < 8; ++i) sum[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (int k = 0; k < g.k; k += kGemmDepth) {
    const GemmFour in_a = gemm_four(!g.trans_a, first_m, k, g.m, g.k, g.m, g.k, thread_id);
    const GemmFour in_b = gemm_four(g.trans_b, first_n, k, g.n, g.k, g.n, g.k, thread_id);
    gemm_keep(a_tile, in_a, gemm_load(a, in_a, g.aligned_a), !g.trans_a, g.round);
    gemm_keep(b_tile, in_b, gemm_load(b, in_b, g.aligned_b), g.trans_b, g.round);
    BARRIER();
    UNROLL
    for (int step = 0; step < kGemmDepth; step += 8) {
      simdgroup_float8x8 x[2], y[4];
      UNROLL
      for (int i = 0; i < 2; ++i) {
        simdgroup_load(x[i], a_tile + (step * kGemmStride + row + 8 * i), kGemmStride, ulong2(0), true);
      }
      UNROLL
      for (int i = 0; i < 4; ++i) simdgroup_load(y[i], b_tile + (step * kGemmStride + col + 8 * i), kGemmStride);
      UNROLL
      for (int i = 0; i < 8; ++i) simdgroup_multiply_accumulate(sum[i], x[i / 4], y[i % 4], sum[i]);
    }
    BARRIER();
  }
  UNROLL
  for (int i = 0; i < 8; ++i) {
    simdgroup_store(sum[i], tile + ((row + i / 4 * 8) * kGemmStride + col + i % 4 * 8), kGemmStride);
  }
  BARRIER();
}

GPU_CONSTANT int kMatmulTile = kGemmTile * kGemmStride;  // floats

KERNEL(matmul, GLOBAL(real) out, GLOBAL(const real) a, GLOBAL(const real) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, GLOBAL(const real) dgelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, tile, kMatmulTile);
  matmul_square(tile, a, b, g, BLOCK_X, THREAD);
  const int col = BLOCK_X % g.blocks_n * kGemmTile + THREAD % kGemmTile;
  for (int r = THREAD / kGemmTile; r < kGemmTile; r += gemm_threads / kGemmTile) {
    const int row = BLOCK_X / g.blocks_n * kGemmTile + r;
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    const float x = gemm_finish(tile[r * kGemmStride + THREAD % kGemmTile], i, col, bias, gelu_in, dgelu_in, g);
    store(out, i, g.accumulate ? load(out, i) + x : x);
  }
}

// Gradients of parameters, which are f32 whatever real is.
KERNEL(matmul_gradient, GLOBAL(float) out, GLOBAL(const real) a, GLOBAL(const real) b, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, tile, kMatmulTile);
  matmul_square(tile, a, b, g, BLOCK_X, THREAD);
  const int col = BLOCK_X % g.blocks_n * kGemmTile + THREAD % kGemmTile;
  for (int r = THREAD / kGemmTile; r < kGemmTile; r += gemm_threads / kGemmTile) {
    const int row = BLOCK_X / g.blocks_n * kGemmTile + r;
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    const float x = tile[r * kGemmStride + THREAD % kGemmTile];
    out[i] = g.accumulate ? out[i] + x : x;
  }
}
