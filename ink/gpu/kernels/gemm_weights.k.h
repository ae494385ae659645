// Products with weights of inference, and with few rows: f16 and bf16 weights, blocks of 8 or 4 bits (the formula is
// Gemm's in ops.h), and for a few rows of a, where all that matters is to read the weights once and at full speed,
// kernels that share the terms of a column among threads. They add as gemm.k.h says: the bits are the same in both.

// --- Many rows. ---

FUNCTION float half_of(ushort bits, int type) {
  return type == kTypeF16 ? float_of_half_bits(bits) : float_of_bits(uint(bits) << 16);
}

FUNCTION float4 load_halves(GLOBAL(const ushort) p, index_t i, int n, int type, int aligned) {
  if (n <= 0) return four_of(0);
  if (aligned && n >= 4) {
    const ushort4 x = INK_VECTOR(const ushort4, p, i);
    return four(half_of(x.x, type), half_of(x.y, type), half_of(x.z, type), half_of(x.w, type));
  }
  return four(half_of(p[i], type), n > 1 ? half_of(p[i + 1], type) : 0.0f, n > 2 ? half_of(p[i + 2], type) : 0.0f,
              n > 3 ? half_of(p[i + 3], type) : 0.0f);
}

// As gemm, with b of 16 bits whatever real is.
KERNEL(gemm_halves, GLOBAL(real) out, GLOBAL(const real) a, GLOBAL(const ushort) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, a_tile, kGemmDepth* kGemmStride);
  SHARED_ARRAY(float, b_tile, kGemmDepth* kGemmStride);
  const int first_m = BLOCK_X / g.blocks_n * kGemmTile, first_n = BLOCK_X % g.blocks_n * kGemmTile;
  GemmSums s = gemm_zero();
  for (int k = 0; k < g.k; k += kGemmDepth) {
    const GemmFour in_a = gemm_four(1, first_m, k, g.m, g.k, g.m, g.k, THREAD);
    const GemmFour in_b = gemm_four(g.trans_b, first_n, k, g.n, g.k, g.n, g.k, THREAD);
    gemm_keep(a_tile, in_a, gemm_load(a, in_a, g.aligned_a), 1, g.round);
    gemm_keep(b_tile, in_b, load_halves(b, in_b.at, in_b.left, g.type_b, g.aligned_b), g.trans_b, g.round);
    BARRIER();
    s = gemm_add_tiles(s, a_tile, b_tile, k, THREAD);
    BARRIER();
  }
  const int m = first_m + THREAD / 16 * 4, n = first_n + THREAD % 16 * 4;
  UNROLL
  for (int j = 0; j < 16; ++j) {
    const int row = m + j / 4, col = n + j % 4;
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    store(out, i, gemm_finish(s.total[j] + s.group[j], i, col, bias, gelu_in, gelu_in, g));
  }
}

// Rounds a (n elements, blocks of 32) to d (n / 32) and q (n bytes, by four in an int). Eight threads have a block.
KERNEL(quantize, GLOBAL(int) q, GLOBAL(float) d, GLOBAL(const real) a, ARGS(QuantizeArgs) args) {
  const index_t i = 4 * (index_t(BLOCK_X) * quantize_threads + THREAD);
  const float4 x = i < args.n ? load_up_to4(a, i, 4, args.aligned) : four_of(0);
  float largest = max(max(fabs(x.x), fabs(x.y)), max(fabs(x.z), fabs(x.w)));
  float bad = (x.x - x.x) + (x.y - x.y) + (x.z - x.z) + (x.w - x.w);  // 0; NaN of NaN, which max drops, and infinity
  UNROLL
  for (int mask = 4; mask > 0; mask /= 2) {
    largest = max(largest, shuffle_xor(largest, mask));
    bad += shuffle_xor(bad, mask);
  }
  const float scale = largest / 127 + bad;
  const float inverse = 1 / scale;
  const float by = inverse > 0 && isfinite(inverse) ? inverse : 0;
  if (i >= args.n) return;
  uint word = 0;
  if (by > 0) {
    word = (uint(int(rint(x.x * by))) & 255u) | (uint(int(rint(x.y * by))) & 255u) << 8 |
           (uint(int(rint(x.z * by))) & 255u) << 16 | (uint(int(rint(x.w * by))) & 255u) << 24;
  }
  q[i / 4] = int(word);
  if (i % 32 == 0) d[i / 32] = scale;
}

// Eight q of a block of weights, by four, and at which fours of the block they are. A block has four such parts.
struct QuantizedPart {
  uint q[2];
  int at[2];
};

// A block's ushorts, the first of them its scale.
FUNCTION int ushorts_of_block(int type) { return type == kTypeQ8 ? 17 : 9; }

FUNCTION QuantizedPart quantized_part(GLOBAL(const ushort) b, index_t block, int part, int type) {
  QuantizedPart result;
  GLOBAL(const ushort) p = b + block * ushorts_of_block(type) + 1;
  if (type == kTypeQ8) {
    result.at[0] = 2 * part;
    result.at[1] = 2 * part + 1;
    result.q[0] = uint(p[4 * part]) | uint(p[4 * part + 1]) << 16;
    result.q[1] = uint(p[4 * part + 2]) | uint(p[4 * part + 3]) << 16;
  } else {
    result.at[0] = part;
    result.at[1] = part + 4;
    const uint nibbles = uint(p[2 * part]) | uint(p[2 * part + 1]) << 16;
    // q - 8 of four bytes at once: the upper bit of each keeps the sum from carrying, and then its sign.
    result.q[0] = ((nibbles & 0x0f0f0f0fu) + 0x78787878u) ^ 0x80808080u;
    result.q[1] = ((nibbles >> 4 & 0x0f0f0f0fu) + 0x78787878u) ^ 0x80808080u;
  }
  return result;
}

GPU_CONSTANT int kBlocksStride = kGemmTile + 1;  // ints from one four of a tile's blocks to the next

// out = a · bᵀ of blocks: a rounded by quantize. A block of threads computes a square of out as gemm does, a block of k
// at a time; threads load a quarter of a block each.
KERNEL(gemm_blocks, GLOBAL(real) out, GLOBAL(const int) a_q, GLOBAL(const float) a_d, GLOBAL(const ushort) b,
       GLOBAL(const real) bias, GLOBAL(real) gelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(int, a_tile, 8 * kBlocksStride);
  SHARED_ARRAY(int, b_tile, 8 * kBlocksStride);
  SHARED_ARRAY(float, a_scales, kGemmTile);
  SHARED_ARRAY(float, b_scales, kGemmTile);
  const int first_m = BLOCK_X / g.blocks_n * kGemmTile, first_n = BLOCK_X % g.blocks_n * kGemmTile;
  const int line = THREAD / 4, part = THREAD % 4, blocks = g.k / 32;
  const int m = THREAD / 16 * 4, n = THREAD % 16;  // columns 16 apart: neighbours read neighbours
  float sums[16];
  UNROLL
  for (int j = 0; j < 16; ++j) sums[j] = 0;
  for (int block = 0; block < blocks; ++block) {
    const bool in_a = first_m + line < g.m, in_b = first_n + line < g.n;
    const index_t at_a = index_t(first_m + line) * blocks + block, at_b = index_t(first_n + line) * blocks + block;
    a_tile[2 * part * kBlocksStride + line] = in_a ? a_q[at_a * 8 + 2 * part] : 0;
    a_tile[(2 * part + 1) * kBlocksStride + line] = in_a ? a_q[at_a * 8 + 2 * part + 1] : 0;
    if (in_b) {
      const QuantizedPart w = quantized_part(b, at_b, part, g.type_b);
      b_tile[w.at[0] * kBlocksStride + line] = int(w.q[0]);
      b_tile[w.at[1] * kBlocksStride + line] = int(w.q[1]);
    } else {
      b_tile[2 * part * kBlocksStride + line] = 0;
      b_tile[(2 * part + 1) * kBlocksStride + line] = 0;
    }
    if (part == 0) a_scales[line] = in_a ? a_d[at_a] : 0;
    if (part == 1) b_scales[line] = in_b ? float_of_half_bits(b[at_b * ushorts_of_block(g.type_b)]) : 0;
    BARRIER();
    int dots[16];
    UNROLL
    for (int j = 0; j < 16; ++j) dots[j] = 0;
    UNROLL
    for (int four = 0; four < 8; ++four) {
      int x[4], y[4];
      UNROLL
      for (int j = 0; j < 4; ++j) {
        x[j] = a_tile[four * kBlocksStride + m + j];
        y[j] = b_tile[four * kBlocksStride + n + 16 * j];
      }
      UNROLL
      for (int j = 0; j < 16; ++j) dots[j] = dot4(uint(x[j / 4]), uint(y[j % 4]), dots[j]);
    }
    UNROLL
    for (int j = 0; j < 16; ++j) {
      sums[j] = fma(float(dots[j]), a_scales[m + j / 4] * b_scales[n + 16 * (j % 4)], sums[j]);
    }
    BARRIER();
  }
  UNROLL
  for (int j = 0; j < 16; ++j) {
    const int row = first_m + m + j / 4, col = first_n + n + 16 * (j % 4);
    if (row >= g.m || col >= g.n) continue;
    const index_t i = index_t(row) * g.n + col;
    store(out, i, gemm_finish(sums[j], i, col, bias, gelu_in, gelu_in, g));
  }
}

// --- Few rows: b transposed, so that a column's weights follow each other. ---
// A block computes kGemvCols columns of kGemvRows rows, kGemvGroups groups of k at a time: first each thread the sum of
// a group of one column, for each row from the same weights, then one thread for each element the sum of the groups.

GPU_CONSTANT int kGemvGroups = 32;             // gemv_threads / kGemvCols
GPU_CONSTANT int kGemvGroup = kGemmGroup + 4;  // floats from one group of a to the next, and
GPU_CONSTANT int kGemvSums = kGemvGroups + 1;  // from the sums of one element to the next: spread over banks

struct GemvWeights {
  float4 at[kGemmGroup / 4];
};

// Brings groups of rows of a to shared memory, 0 beyond their end.
FUNCTION void gemv_keep(SHARED(float) kept_a, GLOBAL(const real) a, GemmArgs g, int first_m, int rows, int first_k,
                        int groups, int thread_id) {
  const int fours = groups * kGemmGroup / 4;
  for (int i = thread_id; i < rows * fours; i += gemv_threads) {
    const int row = i / fours, k = i % fours * 4, left = g.k - first_k - k;
    const float4 x =
        left > 0 ? load_up_to4(a, index_t(first_m + row) * g.k + first_k + k, left, g.aligned_a) : four_of(0);
    const int at = (row * kGemvGroups + k / kGemmGroup) * kGemvGroup + k % kGemmGroup;
    kept_a[at] = gemm_rounded(x.x, g.round);
    kept_a[at + 1] = gemm_rounded(x.y, g.round);
    kept_a[at + 2] = gemm_rounded(x.z, g.round);
    kept_a[at + 3] = gemm_rounded(x.w, g.round);
  }
}

// sums of a group of column col (within the block's) with all rows.
FUNCTION void gemv_add(SHARED(float) sums, SHARED(const float) kept_a, GemvWeights w, int rows, int col, int group,
                       int round) {
  for (int row = 0; row < rows; ++row) {
    const int at = (row * kGemvGroups + group) * kGemvGroup;
    float sum = 0;
    UNROLL
    for (int i = 0; i < kGemmGroup / 4; ++i) {
      const float4 x = load4(kept_a, at + 4 * i);
      sum = fma(x.x, gemm_rounded(w.at[i].x, round), sum);
      sum = fma(x.y, gemm_rounded(w.at[i].y, round), sum);
      sum = fma(x.z, gemm_rounded(w.at[i].z, round), sum);
      sum = fma(x.w, gemm_rounded(w.at[i].w, round), sum);
    }
    sums[(row * kGemvCols + col) * kGemvSums + group] = sum;
  }
}

KERNEL(gemv, GLOBAL(real) out, GLOBAL(const real) a, GLOBAL(const real) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, kept_a, kGemvRows* kGemvGroups* kGemvGroup);
  SHARED_ARRAY(float, sums, kGemvRows* kGemvCols* kGemvSums);
  const int first_m = BLOCK_Y * kGemvRows, first_n = BLOCK_X * kGemvCols, rows = min(int(kGemvRows), g.m - first_m);
  const int row = first_m + THREAD / kGemvCols, col = first_n + THREAD % kGemvCols;
  float total = 0;
  for (int k = 0; k < g.k; k += kGemvGroups * kGemmGroup) {
    const int groups = min(kGemvGroups, (g.k - k + kGemmGroup - 1) / kGemmGroup);
    gemv_keep(kept_a, a, g, first_m, rows, k, groups, THREAD);
    BARRIER();
    const int n = THREAD / groups, at = k + THREAD % groups * kGemmGroup;
    if (n < kGemvCols && first_n + n < g.n) {
      GemvWeights w;
      UNROLL
      for (int i = 0; i < kGemmGroup / 4; ++i) {
        const int left = g.k - at - 4 * i;
        w.at[i] = left > 0 ? load_up_to4(b, index_t(first_n + n) * g.k + at + 4 * i, left, g.aligned_b) : four_of(0);
      }
      gemv_add(sums, kept_a, w, rows, n, THREAD % groups, g.round);
    }
    BARRIER();
    if (THREAD < rows * kGemvCols && col < g.n) {
      for (int i = 0; i < groups; ++i) total += sums[THREAD * kGemvSums + i];
    }
  }
  if (THREAD >= rows * kGemvCols || col >= g.n) return;
  const index_t i = index_t(row) * g.n + col;
  store(out, i, gemm_finish(total, i, col, bias, gelu_in, gelu_in, g));
}

KERNEL(gemv_halves, GLOBAL(real) out, GLOBAL(const real) a, GLOBAL(const ushort) b, GLOBAL(const real) bias,
       GLOBAL(real) gelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, kept_a, kGemvRows* kGemvGroups* kGemvGroup);
  SHARED_ARRAY(float, sums, kGemvRows* kGemvCols* kGemvSums);
  const int first_m = BLOCK_Y * kGemvRows, first_n = BLOCK_X * kGemvCols, rows = min(int(kGemvRows), g.m - first_m);
  const int row = first_m + THREAD / kGemvCols, col = first_n + THREAD % kGemvCols;
  float total = 0;
  for (int k = 0; k < g.k; k += kGemvGroups * kGemmGroup) {
    const int groups = min(kGemvGroups, (g.k - k + kGemmGroup - 1) / kGemmGroup);
    gemv_keep(kept_a, a, g, first_m, rows, k, groups, THREAD);
    BARRIER();
    const int n = THREAD / groups, at = k + THREAD % groups * kGemmGroup;
    if (n < kGemvCols && first_n + n < g.n) {
      GemvWeights w;
      UNROLL
      for (int i = 0; i < kGemmGroup / 4; ++i) {
        w.at[i] = load_halves(b, index_t(first_n + n) * g.k + at + 4 * i, g.k - at - 4 * i, g.type_b, g.aligned_b);
      }
      gemv_add(sums, kept_a, w, rows, n, THREAD % groups, g.round);
    }
    BARRIER();
    if (THREAD < rows * kGemvCols && col < g.n) {
      for (int i = 0; i < groups; ++i) total += sums[THREAD * kGemvSums + i];
    }
  }
  if (THREAD >= rows * kGemvCols || col >= g.n) return;
  const index_t i = index_t(row) * g.n + col;
  store(out, i, gemm_finish(total, i, col, bias, gelu_in, gelu_in, g));
}

// The same of blocks, each by four threads.
KERNEL(gemv_blocks, GLOBAL(real) out, GLOBAL(const int) a_q, GLOBAL(const float) a_d, GLOBAL(const ushort) b,
       GLOBAL(const real) bias, GLOBAL(real) gelu_in, ARGS(GemmArgs) g) {
  SHARED_ARRAY(float, dots, kGemvRows* kGemvCols* kGemvSums);
  SHARED_ARRAY(float, scales, kGemvCols* kGemvSums);  // of b
  const int first_m = BLOCK_Y * kGemvRows, first_n = BLOCK_X * kGemvCols, rows = min(int(kGemvRows), g.m - first_m);
  const int row = first_m + THREAD / kGemvCols, col = first_n + THREAD % kGemvCols;
  const int blocks = g.k / 32, part = THREAD % 4;
  float total = 0;
  for (int first = 0; first < blocks; first += kGemvGroups) {
    const int groups = min(kGemvGroups, blocks - first);
    // Blocks by column. A simd group has eight that follow each other: all of its threads go on, or none.
    for (int item = THREAD / 4; item < groups * kGemvCols; item += gemv_blocks_threads / 4) {
      const int n = item / groups, group = item % groups;
      const bool inside = first_n + n < g.n;
      QuantizedPart w;
      w.q[0] = w.q[1] = 0;
      w.at[0] = w.at[1] = 0;
      if (inside) {
        const index_t block = index_t(first_n + n) * blocks + first + group;
        w = quantized_part(b, block, part, g.type_b);
        if (part == 0) scales[n * kGemvSums + group] = float_of_half_bits(b[block * ushorts_of_block(g.type_b)]);
      }
      GLOBAL(const int) x = a_q + (index_t(first_m) * blocks + first + group) * 8;
      for (int m = 0; m < rows; ++m) {
        // These, and the sum of the four, are exact.
        float sum = float(dot4(uint(x[w.at[0]]), w.q[0], dot4(uint(x[w.at[1]]), w.q[1], 0)));
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        if (inside && part == 0) dots[(m * kGemvCols + n) * kGemvSums + group] = sum;
        x += blocks * 8;
      }
    }
    BARRIER();
    if (THREAD < rows * kGemvCols && col < g.n) {
      for (int i = 0; i < groups; ++i) {
        const float d = a_d[index_t(row) * blocks + first + i] * scales[THREAD % kGemvCols * kGemvSums + i];
        total = fma(dots[THREAD * kGemvSums + i], d, total);
      }
    }
    BARRIER();
  }
  if (THREAD >= rows * kGemvCols || col >= g.n) return;
  const index_t i = index_t(row) * g.n + col;
  store(out, i, gemm_finish(total, i, col, bias, gelu_in, gelu_in, g));
}
