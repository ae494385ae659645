// The embedding of tokens and positions, and its gradients.

// Element i of weights of any type, from their bytes. Types are ink::DType's.
FUNCTION float weight_at(GLOBAL(const uchar) w, int type, index_t i) {
  if (type == kTypeF32) {
    return float_of_bits(uint(w[4 * i]) | uint(w[4 * i + 1]) << 8 | uint(w[4 * i + 2]) << 16 |
                         uint(w[4 * i + 3]) << 24);
  }
  if (type == kTypeF16) return float_of_half_bits(ushort(uint(w[2 * i]) | uint(w[2 * i + 1]) << 8));
  if (type == kTypeBf16) return float_of_bits(uint(w[2 * i]) << 16 | uint(w[2 * i + 1]) << 24);
  // Blocks of 32, a scale before each.
  const index_t block = i / 32 * (type == kTypeQ8 ? 34 : 18);
  const int at = int(i % 32);
  const float d = float_of_half_bits(ushort(uint(w[block]) | uint(w[block + 1]) << 8));
  if (type == kTypeQ8) {
    const int q = w[block + 2 + at];
    return d * float(q < 128 ? q : q - 256);
  }
  return d * float((w[block + 2 + at % 16] >> (at < 16 ? 0 : 4) & 15) - 8);
}

// A simd group has a row of out.
KERNEL(embed, GLOBAL(real) out, GLOBAL(const int) tokens, GLOBAL(const real) wte, GLOBAL(const real) wpe,
       GLOBAL(const int) positions, ARGS(EmbedArgs) a) {
  const int row = BLOCK_X * (embed_threads / kSimd) + THREAD / kSimd, lane = THREAD % kSimd;
  if (row >= a.rows) return;
  const index_t token = index_t(tokens[row]) * a.cols;
  const index_t position = index_t(a.has_positions != 0 ? positions[row] : row % a.time) * a.cols;
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const int n = a.cols - c;
    store_up_to4(out, index_t(row) * a.cols + c, n, a.aligned,
                 add4(load_up_to4(wte, token + c, n, a.aligned), load_up_to4(wpe, position + c, n, a.aligned)));
  }
}

// The same with wte of any type.
KERNEL(embed_any, GLOBAL(real) out, GLOBAL(const int) tokens, GLOBAL(const uchar) wte, GLOBAL(const real) wpe,
       GLOBAL(const int) positions, ARGS(EmbedArgs) a) {
  const int row = BLOCK_X * (embed_any_threads / kSimd) + THREAD / kSimd, lane = THREAD % kSimd;
  if (row >= a.rows) return;
  const index_t token = index_t(tokens[row]) * a.cols;
  const index_t position = index_t(a.has_positions != 0 ? positions[row] : row % a.time) * a.cols;
  for (int c = lane; c < a.cols; c += kSimd) {
    store(out, index_t(row) * a.cols + c, weight_at(wte, a.type, token + c) + load(wpe, position + c));
  }
}

// dwpe[t] += Σ_b dout[b,t]. A simd group has a position.
KERNEL(embed_backward_positions, GLOBAL(float) dwpe, GLOBAL(const real) dout, ARGS(EmbedBackwardArgs) a) {
  const int t = BLOCK_X * (embed_backward_positions_threads / kSimd) + THREAD / kSimd, lane = THREAD % kSimd;
  if (t >= a.time) return;
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const int n = a.cols - c;
    float4 sum = load_up_to4(dout, index_t(t) * a.cols + c, n, a.aligned);
    for (int row = t + a.time; row < a.rows; row += a.time) {
      sum = add4(sum, load_up_to4(dout, index_t(row) * a.cols + c, n, a.aligned));
    }
    const index_t i = index_t(t) * a.cols + c;
    store_up_to4(dwpe, i, n, a.aligned, add4(sum, load_up_to4(dwpe, i, n, a.aligned)));
  }
}

// order = the rows by their tokens, those of one token in their order: first within tiles of sort_tokens_threads rows,
// where a row goes to the place of as many as come before it. merge_tokens joins the tiles.
KERNEL(sort_tokens, GLOBAL(int) order, GLOBAL(const int) tokens, ARGS(SortTokensArgs) a) {
  SHARED_ARRAY(int, tile, sort_tokens_threads);
  const int begin = BLOCK_X * sort_tokens_threads, rows = min(sort_tokens_threads, a.rows - begin);
  const int token = THREAD < rows ? tokens[begin + THREAD] : 0;
  tile[THREAD] = token;
  BARRIER();
  if (THREAD >= rows) return;
  int before = 0;
  for (int i = 0; i < rows; ++i) before += tile[i] < token || (tile[i] == token && i < THREAD) ? 1 : 0;
  order[begin + before] = begin + THREAD;
}

// How many of order[begin, end), which is sorted, have a token below one.
FUNCTION int rows_below(GLOBAL(const int) order, GLOBAL(const int) tokens, int begin, int end, int token) {
  int low = begin, high = end;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (tokens[order[middle]] < token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - begin;
}

// Joins sorted runs of `run` rows each, two by two: a row moves by as many of the other run as come before it, which of
// the same token those of the left run do.
KERNEL(merge_tokens, GLOBAL(int) out, GLOBAL(const int) order, GLOBAL(const int) tokens, ARGS(SortTokensArgs) a) {
  const int i = BLOCK_X * merge_tokens_threads + THREAD;
  if (i >= a.rows) return;
  const int row = order[i], token = tokens[row], right = i / a.run % 2;
  const int begin = min(a.rows, (i / a.run + 1 - 2 * right) * a.run), end = begin + min(a.run, a.rows - begin);
  out[i - right * a.run + rows_below(order, tokens, begin, end, token + right)] = row;
}

// count[place] = the rows of its token, for the first of them, else 0.
KERNEL(count_tokens, GLOBAL(int) count, GLOBAL(const int) order, GLOBAL(const int) tokens, ARGS(SortTokensArgs) a) {
  const int i = BLOCK_X * count_tokens_threads + THREAD;
  if (i >= a.rows) return;
  const int token = tokens[order[i]];
  const bool first = i == 0 || tokens[order[i - 1]] != token;
  count[i] = first ? rows_below(order, tokens, i, a.rows, token + 1) : 0;
}

// dwte[token] += the rows of dout that have it. A block has 128 columns (BLOCK_Y) of a token, if BLOCK_X is the place
// of its first row; each simd group adds every 4th of the rows.
KERNEL(embed_backward_tokens, GLOBAL(float) dwte, GLOBAL(const real) dout, GLOBAL(const int) tokens,
       GLOBAL(const int) order, GLOBAL(const int) count, ARGS(EmbedBackwardArgs) a) {
  SHARED_ARRAY(float, sums, embed_backward_tokens_threads * 4);
  const int groups = embed_backward_tokens_threads / kSimd, group = THREAD / kSimd, lane = THREAD % kSimd;
  const int rows = count[BLOCK_X], c = BLOCK_Y * 4 * kSimd + 4 * lane, n = a.cols - c;
  if (rows > 0) {  // in all of the block
    float4 sum = four_of(0);
    for (int i = group; i < rows && n > 0; i += groups) {
      sum = add4(sum, load_up_to4(dout, index_t(order[BLOCK_X + i]) * a.cols + c, n, a.aligned));
    }
    const int at = group * 4 * kSimd + 4 * lane;
    sums[at] = sum.x;
    sums[at + 1] = sum.y;
    sums[at + 2] = sum.z;
    sums[at + 3] = sum.w;
    BARRIER();
    // A thread has one of the 128 columns.
    const int column = BLOCK_Y * 4 * kSimd + THREAD;
    float total = 0;
    for (int i = 0; i < groups; ++i) total += sums[i * 4 * kSimd + THREAD];
    if (column < a.cols) dwte[index_t(tokens[order[BLOCK_X]]) * a.cols + column] += total;
  }
}
