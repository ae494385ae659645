// The gradients of causal attention, from the saved lse and delta = Σ_c dout · out: scores are computed again, tile by
// tile, once for the queries' gradients and once for those of keys and values, so that each has one block that sums it,
// in one order.

// delta(B,NH,T): a simd group a row of a head.
KERNEL(attention_delta, GLOBAL(float) delta, GLOBAL(const real) dout, GLOBAL(const real) out, ARGS(AttentionArgs) a) {
  const index_t at = index_t(BLOCK_X) * (attention_delta_threads / kSimd) + THREAD / kSimd;
  const bool exists = at < index_t(a.batch) * a.time * a.heads;
  float sum = 0;
  if (exists) {
    for (int i = THREAD % kSimd; i < a.size; i += kSimd)
      sum += load(dout, at * a.size + i) * load(out, at * a.size + i);
  }
  sum = simd_total(sum);
  if (exists && THREAD % kSimd == 0) {
    const index_t row = at / a.heads, head = at % a.heads;
    delta[(row / a.time * a.heads + head) * a.time + row % a.time] = sum;
  }
}

// A weight of the softmax: of query t for key u, 0 for those that are not there.
FUNCTION float weight_of(float score, float lse, int t, int u, AttentionArgs a) {
  return u <= t && t < a.time ? exp(score * a.scale - lse) : 0;
}

// dq = scale · Σ_u p · (dp - delta) · k[u], with p the weights and dp = dout · v[u].
KERNEL(attention_backward_q, GLOBAL(real) dqkv, GLOBAL(const real) dout, GLOBAL(const real) qkv,
       GLOBAL(const float) lse, GLOBAL(const float) delta, ARGS(AttentionArgs) a) {
  SHARED_ARRAY(float4, tile, kTileFours);
  SHARED_ARRAY(float4, weights, kTileFours);
  const TilePlace place = tile_place(BLOCK_X, true, a);
  const int tx = THREAD % kTileX, ty = THREAD / kTileX;
  const HeadRows q = head_rows(qkv, place, place.head, 3 * a.heads, place.first, a);
  const HeadRows d = head_rows(dout, place, place.head, a.heads, place.first, a);

  float row_lse[kTileRows], row_delta[kTileRows];
  UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    const int t = min(place.first + ty + i * kTileY, a.time - 1);
    row_lse[i] = lse[place.statistic + t];
    row_delta[i] = delta[place.statistic + t];
  }
  Tile sum = zero_tile();
  for (int u = 0; u <= place.first; u += kTile) {
    const HeadRows k = head_rows(qkv, place, place.head + a.heads, 3 * a.heads, u, a);
    const HeadRows v = head_rows(qkv, place, place.head + 2 * a.heads, 3 * a.heads, u, a);
    const Tile scores = dots(tile, q, k, THREAD);
    const Tile dp = dots(tile, d, v, THREAD);
    UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const int t = place.first + ty + i * kTileY, key = u + 4 * tx;
      const float4 score = scores.row[i];
      float4 ds;
      ds.x = weight_of(score.x, row_lse[i], t, key, a) * (dp.row[i].x - row_delta[i]);
      ds.y = weight_of(score.y, row_lse[i], t, key + 1, a) * (dp.row[i].y - row_delta[i]);
      ds.z = weight_of(score.z, row_lse[i], t, key + 2, a) * (dp.row[i].z - row_delta[i]);
      ds.w = weight_of(score.w, row_lse[i], t, key + 3, a) * (dp.row[i].w - row_delta[i]);
      weights[(ty + i * kTileY) * kTileX + tx] = ds;
    }
    sum = add_weighted(sum, weights, tile, k, place.channel, THREAD);
  }

  UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    const int t = place.first + ty + i * kTileY;
    const index_t row = place.sequence * a.time + t;
    const index_t at = (row * 3 * a.heads + place.head) * a.size;
    if (t < a.time) store_four(dqkv, at, place.channel + 4 * tx, times(sum.row[i], a.scale), a);
  }
}

// dk = scale · Σ_t p · (dp - delta) · q[t] and dv = Σ_t p · dout[t]: the rows of its tiles are keys, the columns
// queries.
KERNEL(attention_backward_kv, GLOBAL(real) dqkv, GLOBAL(const real) dout, GLOBAL(const real) qkv,
       GLOBAL(const float) lse, GLOBAL(const float) delta, ARGS(AttentionArgs) a) {
  SHARED_ARRAY(float4, tile, kTileFours);
  SHARED_ARRAY(float4, weights, kTileFours);
  const TilePlace place = tile_place(BLOCK_X, false, a);
  const int tx = THREAD % kTileX, ty = THREAD / kTileX;
  const HeadRows k = head_rows(qkv, place, place.head + a.heads, 3 * a.heads, place.first, a);
  const HeadRows v = head_rows(qkv, place, place.head + 2 * a.heads, 3 * a.heads, place.first, a);

  Tile dk = zero_tile(), dv = zero_tile();
  for (int first = place.first; first < a.time; first += kTile) {
    const HeadRows q = head_rows(qkv, place, place.head, 3 * a.heads, first, a);
    const HeadRows d = head_rows(dout, place, place.head, a.heads, first, a);
    const int t = first + 4 * tx, last = a.time - 1;
    const index_t at = place.statistic;
    Tile p = dots(tile, k, q, THREAD);
    UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const int u = place.first + ty + i * kTileY;
      p.row[i].x = weight_of(p.row[i].x, lse[at + min(t, last)], t, u, a);
      p.row[i].y = weight_of(p.row[i].y, lse[at + min(t + 1, last)], t + 1, u, a);
      p.row[i].z = weight_of(p.row[i].z, lse[at + min(t + 2, last)], t + 2, u, a);
      p.row[i].w = weight_of(p.row[i].w, lse[at + min(t + 3, last)], t + 3, u, a);
      weights[(ty + i * kTileY) * kTileX + tx] = p.row[i];
    }
    dv = add_weighted(dv, weights, tile, d, place.channel, THREAD);
    // Its barriers come after all have read the weights.
    const Tile dp = dots(tile, v, d, THREAD);
    UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      float4 ds;
      ds.x = p.row[i].x * (dp.row[i].x - delta[at + min(t, last)]);
      ds.y = p.row[i].y * (dp.row[i].y - delta[at + min(t + 1, last)]);
      ds.z = p.row[i].z * (dp.row[i].z - delta[at + min(t + 2, last)]);
      ds.w = p.row[i].w * (dp.row[i].w - delta[at + min(t + 3, last)]);
      weights[(ty + i * kTileY) * kTileX + tx] = ds;
    }
    dk = add_weighted(dk, weights, tile, q, place.channel, THREAD);
  }

  UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    const int u = place.first + ty + i * kTileY;
    const index_t row = place.sequence * a.time + u;
    const index_t at = (row * 3 * a.heads + a.heads + place.head) * a.size;
    if (u < a.time) {
      store_four(dqkv, at, place.channel + 4 * tx, times(dk.row[i], a.scale), a);
      store_four(dqkv, at + index_t(a.heads) * a.size, place.channel + 4 * tx, dv.row[i], a);
    }
  }
}
