// Attention to a cache of keys and values in pages. The lanes of a simd group are the 32 positions of a page for the
// scores, which finds keys in memory one beside another, and channels for the values. A block has up to kCachedRows
// rows of one sequence, as in a prompt, and a head; its simd groups share the pages out, each with a softmax of its
// own, and are merged at the end. What a row adds up, and in what order, is the same whatever rows are beside it.

GPU_CONSTANT int kPage = 32;  // positions of a page
GPU_CONSTANT int kCachedRows = 8;
GPU_CONSTANT int kCachedChannels = kCachedAttentionSize;
GPU_CONSTANT int kCachedGroups = 8;  // simd groups of a block
GPU_CONSTANT int kLaneChannels = kCachedChannels / kSimd;

// k and v of the new rows to their places.
KERNEL(cached_attention_write, GLOBAL(float) k_pages, GLOBAL(float) v_pages, GLOBAL(const real) qkv,
       GLOBAL(const int) sequences, GLOBAL(const int) positions, GLOBAL(const int) table, ARGS(CachedAttentionArgs) a) {
  const index_t i = index_t(BLOCK_X) * cached_attention_write_threads + THREAD;
  const int channels = a.heads * a.size;
  if (i < index_t(a.rows) * channels) {
    const int row = int(i / channels), c = int(i % channels), position = positions[row];
    const index_t page = table[index_t(sequences[row]) * a.table_columns + position / kPage];
    const index_t head = (page * a.heads + c / a.size) * a.size * kPage;
    const index_t from = index_t(row) * 3 * channels + c;
    k_pages[head + c % a.size * kPage + position % kPage] = load(qkv, from + channels);
    v_pages[head + position % kPage * a.size + c % a.size] = load(qkv, from + 2 * channels);
  }
}

// The rows that the block of a row computes: those of its sequence up to the next multiple of kCachedRows; none if
// another block has them.
FUNCTION int rows_of_block(GLOBAL(const int) sequences, int row, int rows) {
  const int sequence = sequences[row];
  if (row % kCachedRows != 0 && sequences[row - 1] == sequence) return 0;
  int count = 1;
  while ((row + count) % kCachedRows != 0 && row + count < rows && sequences[row + count] == sequence) ++count;
  return count;
}

KERNEL(cached_attention, GLOBAL(real) out, GLOBAL(const real) qkv, GLOBAL(const float) k_pages,
       GLOBAL(const float) v_pages, GLOBAL(const int) sequences, GLOBAL(const int) positions, GLOBAL(const int) table,
       ARGS(CachedAttentionArgs) a) {
  SHARED_ARRAY(float4, q, kCachedChannels * 2);  // of a channel: kCachedRows rows
  SHARED_ARRAY(float4, weights, kCachedGroups * kPage * 2);
  SHARED_ARRAY(float, parts, kCachedGroups* kCachedChannels);
  SHARED_ARRAY(float, statistics, kCachedGroups* kCachedRows * 2);
  SHARED_ARRAY(int, ends, kCachedRows);  // the rows' own positions
  const int row = BLOCK_X / a.heads, head = BLOCK_X % a.heads, group = THREAD / kSimd, lane = THREAD % kSimd;
  const int count = rows_of_block(sequences, row, a.rows);
  const index_t pages_at = index_t(sequences[row]) * a.table_columns;
  const int stride = 3 * a.heads * a.size;
  const index_t q_at = index_t(row) * stride + head * a.size;

  float largest[kCachedRows], total[kCachedRows], sum[kCachedRows][kLaneChannels];
  UNROLL
  for (int i = 0; i < kCachedRows; ++i) {
    largest[i] = -INFINITY;
    total[i] = 0;
    UNROLL
    for (int n = 0; n < kLaneChannels; ++n) sum[i][n] = 0;
  }
  const int last = count > 0 ? positions[row + count - 1] : -1;
  if (THREAD < count) ends[THREAD] = positions[row + THREAD];
  if (THREAD < a.size) {
    const index_t at = q_at + THREAD;
    float4 low = four_of(0), high = four_of(0);
    if (count > 0) low.x = load(qkv, at) * a.scale;
    if (count > 1) low.y = load(qkv, at + stride) * a.scale;
    if (count > 2) low.z = load(qkv, at + 2 * index_t(stride)) * a.scale;
    if (count > 3) low.w = load(qkv, at + 3 * index_t(stride)) * a.scale;
    if (count > 4) high.x = load(qkv, at + 4 * index_t(stride)) * a.scale;
    if (count > 5) high.y = load(qkv, at + 5 * index_t(stride)) * a.scale;
    if (count > 6) high.z = load(qkv, at + 6 * index_t(stride)) * a.scale;
    if (count > 7) high.w = load(qkv, at + 7 * index_t(stride)) * a.scale;
    q[2 * THREAD] = low;
    q[2 * THREAD + 1] = high;
  }
  BARRIER();

  for (int first = 0; first <= last; first += kCachedGroups * kPage) {
    const int begin = first + group * kPage;  // the position that the group's page begins with
    const bool has = begin <= last;
    float factor[kCachedRows];
    index_t page = 0;
    if (has) {
      page = (index_t(table[pages_at + begin / kPage]) * a.heads + head) * a.size * kPage;
      float4 low = four_of(0), high = four_of(0);
      for (int c = 0; c < a.size; ++c) {
        const float k = k_pages[page + c * kPage + lane];
        low = add_times(low, k, q[2 * c]);
        high = add_times(high, k, q[2 * c + 1]);
      }
      float p[kCachedRows];
      p[0] = low.x;
      p[1] = low.y;
      p[2] = low.z;
      p[3] = low.w;
      p[4] = high.x;
      p[5] = high.y;
      p[6] = high.z;
      p[7] = high.w;
      UNROLL
      for (int i = 0; i < kCachedRows; ++i) {
        factor[i] = 1;
        if (i < count) {
          const bool seen = begin + lane <= ends[i];  // what is behind may be anything
          const float before = largest[i];
          largest[i] = max(before, simd_largest(seen ? p[i] : -INFINITY));
          p[i] = seen ? exp(p[i] - largest[i]) : 0;
          // -∞ - -∞ would be NaN in a group that has seen nothing yet.
          factor[i] = before == largest[i] ? 1 : exp(before - largest[i]);
          total[i] = total[i] * factor[i] + p[i];
        } else {
          p[i] = 0;
        }
      }
      weights[2 * THREAD] = four(p[0], p[1], p[2], p[3]);
      weights[2 * THREAD + 1] = four(p[4], p[5], p[6], p[7]);
    }
    BARRIER();
    if (has) {
      const int keys = min(kPage, last + 1 - begin);
      UNROLL
      for (int n = 0; n < kLaneChannels; ++n) {
        const int channel = n * kSimd + lane;
        if (channel < a.size) {
          UNROLL
          for (int i = 0; i < kCachedRows; ++i) sum[i][n] *= factor[i];
          for (int u = 0; u < keys; ++u) {
            const float v = v_pages[page + u * a.size + channel];
            const float4 low = weights[2 * (group * kPage + u)], high = weights[2 * (group * kPage + u) + 1];
            sum[0][n] += low.x * v;
            sum[1][n] += low.y * v;
            sum[2][n] += low.z * v;
            sum[3][n] += low.w * v;
            sum[4][n] += high.x * v;
            sum[5][n] += high.y * v;
            sum[6][n] += high.z * v;
            sum[7][n] += high.w * v;
          }
        }
      }
    }
    BARRIER();
  }

  UNROLL
  for (int i = 0; i < kCachedRows; ++i) {
    if (i < count) {
      const float all = simd_total(total[i]);
      if (lane == 0) statistics[2 * (group * kCachedRows + i)] = largest[i];
      if (lane == 0) statistics[2 * (group * kCachedRows + i) + 1] = all;
    }
  }
  BARRIER();
  UNROLL
  for (int i = 0; i < kCachedRows; ++i) {
    if (i < count) {
      float top = -INFINITY, divisor = 0, value = 0;
      for (int g = 0; g < kCachedGroups; ++g) top = max(top, statistics[2 * (g * kCachedRows + i)]);
      for (int g = 0; g < kCachedGroups; ++g) {
        const int at = 2 * (g * kCachedRows + i);
        divisor += statistics[at + 1] * exp(statistics[at] - top);
      }
      const float share = exp(largest[i] - top);
      UNROLL
      for (int n = 0; n < kLaneChannels; ++n) {
        const int channel = n * kSimd + lane;
        if (channel < a.size) parts[group * kCachedChannels + channel] = sum[i][n] * share;
      }
      BARRIER();
      if (THREAD < a.size) {
        for (int g = 0; g < kCachedGroups; ++g) value += parts[g * kCachedChannels + THREAD];
        // Zeros that were added for other rows' positions may have given a zero another sign: 0 + is for that.
        store(out, (index_t(row) + i) * a.heads * a.size + head * a.size + THREAD, 0 + value / divisor);
      }
      BARRIER();
    }
  }
}
