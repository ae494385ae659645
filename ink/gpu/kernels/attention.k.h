// Causal attention in tiles (Dao et al. 2022): a block has kTile queries of a head and goes over the keys before them,
// kTile at a time, with a softmax that is corrected as larger scores turn up. First what its gradients use too: places
// of blocks, and products of tiles.
//
// A block's threads are 16 x 8. Of a tile of results, thread (tx, ty) has the rows ty + 8 i and the four columns from
// 4 tx on, in registers: 128 multiplications for 12 reads of shared memory, of four floats each. Heads are read 32
// channels at a time for the scores; where they have more than kTile channels, each block gives kTile of them, and
// computes the scores for itself.

GPU_CONSTANT int kTile = kAttentionTile;
GPU_CONSTANT int kTileThreads = 128;  // of a block of every kernel that uses what follows
GPU_CONSTANT int kTileX = kTile / 4;
GPU_CONSTANT int kTileY = kTileThreads / kTileX;
GPU_CONSTANT int kTileRows = kTile / kTileY;
GPU_CONSTANT int kChunk = 8;                      // fours of a head's channels that are read at a time
GPU_CONSTANT int kTileFours = kTile * kTile / 4;  // of a tile in shared memory

struct Tile {
  float4 row[kTileRows];
};

// Rows of a head in device memory. Rows and channels that are not there are taken for 0.
struct HeadRows {
  GLOBAL(const real) data;  // the first channel of the first row
  index_t stride;
  int count;
  int size;  // channels
  int aligned;
};

// What a block computes: kTile positions from `first` on, kTile channels from `channel` on.
struct TilePlace {
  index_t sequence;   // of the batch
  index_t statistic;  // of position 0 of the head in lse, delta
  int head, first, channel;
};

FUNCTION float4 times(float4 x, float factor) {
  x.x *= factor;
  x.y *= factor;
  x.z *= factor;
  x.w *= factor;
  return x;
}
FUNCTION float4 add_times(float4 sum, float factor, float4 x) {
  sum.x += factor * x.x;
  sum.y += factor * x.y;
  sum.z += factor * x.z;
  sum.w += factor * x.w;
  return sum;
}
FUNCTION float add_dot(float sum, float4 x, float4 y) {
  sum += x.x * y.x;
  sum += x.y * y.y;
  sum += x.z * y.z;
  sum += x.w * y.w;
  return sum;
}

FUNCTION Tile zero_tile() {
  Tile tile;
  UNROLL
  for (int i = 0; i < kTileRows; ++i) tile.row[i] = four_of(0);
  return tile;
}

// GPUs begin with the first blocks: a head's tiles with the longest sums come first, which are the last ones where
// those go over the positions before, so that no GPU ends with one core at work.
FUNCTION TilePlace tile_place(int block, bool over_before, AttentionArgs a) {
  const int tiles = (a.time + kTile - 1) / kTile, chunks = (a.size + kTile - 1) / kTile;
  const int channels = block / tiles, head = channels / chunks;
  TilePlace place;
  place.first = (over_before ? tiles - 1 - block % tiles : block % tiles) * kTile;
  place.channel = channels % chunks * kTile;
  place.head = head % a.heads;
  place.sequence = head / a.heads;
  place.statistic = index_t(head) * a.time;
  return place;
}

// The rows from position `first` on of a tensor whose rows hold `width` heads, of the head-th of these.
FUNCTION HeadRows head_rows(GLOBAL(const real) x, TilePlace place, int head, int width, int first, AttentionArgs a) {
  HeadRows rows;
  rows.stride = index_t(width) * a.size;
  rows.data = x + ((place.sequence * a.time + first) * rows.stride + index_t(head) * a.size);
  rows.count = min(kTile, a.time - first);
  rows.size = a.size;
  rows.aligned = a.aligned;
  return rows;
}

FUNCTION float4 load_four(HeadRows x, int row, int channel) {
  if (row >= x.count || channel >= x.size) return four_of(0);
  return load_up_to4(x.data, row * x.stride + channel, x.size - channel, x.aligned);
}

// To the channels from `channel` on of a head that begins at out[at], those of them that it has.
FUNCTION void store_four(GLOBAL(real) out, index_t at, int channel, float4 x, AttentionArgs a) {
  if (channel < a.size) store_up_to4(out, at + channel, a.size - channel, a.aligned, x);
}

// x · yᵀ. A row of the tile of y lies where the threads of a simd group, which read every fourth, find theirs one after
// another, its fours in an order by which eight threads read of all banks.
FUNCTION Tile dots(SHARED(float4) tile, HeadRows x, HeadRows y, int thread_id) {
  SHARED(float4) x_tile = tile;
  SHARED(float4) y_tile = tile + kTile * kChunk;
  const int tx = thread_id % kTileX, ty = thread_id / kTileX, four_in = thread_id % kChunk;
  Tile sum = zero_tile();
  for (int channel = 0; channel < x.size; channel += 4 * kChunk) {
    BARRIER();
    UNROLL
    for (int i = 0; i < kTile * kChunk / kTileThreads; ++i) {
      const int row = thread_id / kChunk + i * (kTileThreads / kChunk);
      x_tile[row * kChunk + four_in] = load_four(x, row, channel + 4 * four_in);
    }
    UNROLL
    for (int i = 0; i < kTile * kChunk / kTileThreads; ++i) {
      const int row = thread_id / kChunk + i * (kTileThreads / kChunk), slot = row % 4 * kTileX + row / 4;
      y_tile[slot * kChunk + (four_in ^ (slot % kChunk))] = load_four(y, row, channel + 4 * four_in);
    }
    BARRIER();
    const int fours = min(kChunk, (x.size - channel + 3) / 4);
    for (int f = 0; f < fours; ++f) {
      const int at = tx * kChunk + (f ^ (tx % kChunk));
      const float4 y0 = y_tile[at], y1 = y_tile[at + kTileX * kChunk];
      const float4 y2 = y_tile[at + 2 * kTileX * kChunk], y3 = y_tile[at + 3 * kTileX * kChunk];
      UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        const float4 xi = x_tile[(ty + i * kTileY) * kChunk + f];
        sum.row[i].x = add_dot(sum.row[i].x, xi, y0);
        sum.row[i].y = add_dot(sum.row[i].y, xi, y1);
        sum.row[i].z = add_dot(sum.row[i].z, xi, y2);
        sum.row[i].w = add_dot(sum.row[i].w, xi, y3);
      }
    }
  }
  return sum;
}

// sum + weights · y, of kTile channels of y from `channel` on. Begins with the barrier that shows all the weights.
FUNCTION Tile add_weighted(Tile sum, SHARED(const float4) weights, SHARED(float4) tile, HeadRows y, int channel,
                           int thread_id) {
  const int tx = thread_id % kTileX, ty = thread_id / kTileX;
  BARRIER();
  UNROLL
  for (int i = 0; i < kTileFours / kTileThreads; ++i) {
    const int row = ty + i * kTileY;
    tile[row * kTileX + tx] = load_four(y, row, channel + 4 * tx);
  }
  BARRIER();
  const int fours = (y.count + 3) / 4;
  for (int f = 0; f < fours; ++f) {
    const float4 y0 = tile[4 * f * kTileX + tx], y1 = tile[(4 * f + 1) * kTileX + tx];
    const float4 y2 = tile[(4 * f + 2) * kTileX + tx], y3 = tile[(4 * f + 3) * kTileX + tx];
    UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const float4 w = weights[(ty + i * kTileY) * kTileX + f];
      sum.row[i] = add_times(sum.row[i], w.x, y0);
      sum.row[i] = add_times(sum.row[i], w.y, y1);
      sum.row[i] = add_times(sum.row[i], w.z, y2);
      sum.row[i] = add_times(sum.row[i], w.w, y3);
    }
  }
  return sum;
}

// Over the threads that share a row of a tile, 16 beside each other.
FUNCTION float row_largest(float4 x) {
  float largest = max(max(x.x, x.y), max(x.z, x.w));
  for (int mask = kTileX / 2; mask > 0; mask /= 2) largest = max(largest, shuffle_xor(largest, mask));
  return largest;
}
FUNCTION float row_total(float total) {
  for (int mask = kTileX / 2; mask > 0; mask /= 2) total += shuffle_xor(total, mask);
  return total;
}

// The scores of queries t for the keys from u on: those of later positions are -∞.
FUNCTION float4 causal(float4 score, int t, int u) {
  if (u > t) score.x = -INFINITY;
  if (u + 1 > t) score.y = -INFINITY;
  if (u + 2 > t) score.z = -INFINITY;
  if (u + 3 > t) score.w = -INFINITY;
  return score;
}

KERNEL(attention, GLOBAL(real) out, GLOBAL(float) lse, GLOBAL(const real) qkv, ARGS(AttentionArgs) a) {
  SHARED_ARRAY(float4, tile, kTileFours);
  SHARED_ARRAY(float4, weights, kTileFours);
  const TilePlace place = tile_place(BLOCK_X, true, a);
  const int tx = THREAD % kTileX, ty = THREAD / kTileX;
  const HeadRows q = head_rows(qkv, place, place.head, 3 * a.heads, place.first, a);

  float largest[kTileRows], total[kTileRows];  // total: of this thread's columns
  UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    largest[i] = -INFINITY;
    total[i] = 0;
  }
  Tile sum = zero_tile();
  for (int u = 0; u <= place.first; u += kTile) {
    const HeadRows k = head_rows(qkv, place, place.head + a.heads, 3 * a.heads, u, a);
    const HeadRows v = head_rows(qkv, place, place.head + 2 * a.heads, 3 * a.heads, u, a);
    const Tile scores = dots(tile, q, k, THREAD);
    UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const float4 score = causal(times(scores.row[i], a.scale), place.first + ty + i * kTileY, u + 4 * tx);
      const float before = largest[i];
      largest[i] = max(before, row_largest(score));
      float4 p;
      p.x = exp(score.x - largest[i]);
      p.y = exp(score.y - largest[i]);
      p.z = exp(score.z - largest[i]);
      p.w = exp(score.w - largest[i]);
      weights[(ty + i * kTileY) * kTileX + tx] = p;
      const float factor = exp(before - largest[i]);
      total[i] = total[i] * factor + ((p.x + p.y) + (p.z + p.w));
      sum.row[i] = times(sum.row[i], factor);
    }
    sum = add_weighted(sum, weights, tile, v, place.channel, THREAD);
  }

  UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    const float all = row_total(total[i]);
    const int t = place.first + ty + i * kTileY;
    if (t < a.time) {
      const index_t row = place.sequence * a.time + t;
      store_four(out, (row * a.heads + place.head) * a.size, place.channel + 4 * tx, times(sum.row[i], 1 / all), a);
      if (tx == 0 && place.channel == 0) lse[place.statistic + t] = largest[i] + log(all);
    }
  }
}
