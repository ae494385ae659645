// Layer norm with the residual before it, and its gradients. A simd group has a row, a lane every 32nd four of its
// columns; what it reads again was in its own cache.

FUNCTION float4 normal4(float4 x, float mean, float rstd) {
  return four((x.x - mean) * rstd, (x.y - mean) * rstd, (x.z - mean) * rstd, (x.w - mean) * rstd);
}

KERNEL(add_layernorm, GLOBAL(real) out, GLOBAL(real) sum, GLOBAL(float) mean, GLOBAL(float) rstd, GLOBAL(const real) in,
       GLOBAL(const real) residual, GLOBAL(const real) weight, GLOBAL(const real) bias, ARGS(LayerNormArgs) a) {
  const int row = BLOCK_X * (add_layernorm_threads / kSimd) + THREAD / kSimd, lane = THREAD % kSimd;
  if (row >= a.rows) return;
  const index_t begin = index_t(row) * a.cols;
  // The row as the backward pass will find it in sum: rounded.
  float total = 0;
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    float4 x = load_up_to4(residual, begin + c, a.cols - c, a.aligned);
    if (a.has_in != 0) x = kept4(add4(x, load_up_to4(in, begin + c, a.cols - c, a.aligned)));
    if (a.has_sum != 0) store_up_to4(sum, begin + c, a.cols - c, a.aligned, x);
    total += sum_of(x, a.cols - c);
  }
  GLOBAL(const real) x_row = residual;
  if (a.has_sum != 0) x_row = sum;
  const float m = simd_total(total) / float(a.cols);
  float squares = 0;
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const float4 x = normal4(load_up_to4(x_row, begin + c, a.cols - c, a.aligned), m, 1);
    squares += sum_of(mul4(x, x), a.cols - c);
  }
  const float r = 1 / sqrt(simd_total(squares) / float(a.cols) + a.eps);
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const int n = a.cols - c;
    const float4 x = normal4(load_up_to4(x_row, begin + c, n, a.aligned), m, r);
    store_up_to4(out, begin + c, n, a.aligned,
                 mul_add4(x, load_up_to4(weight, c, n, a.aligned), load_up_to4(bias, c, n, a.aligned)));
  }
  if (lane == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}

// dsum, and the forward pass's output again. dsum may be dresidual, out may be dout: a lane reads what it overwrites.
KERNEL(layernorm_backward, GLOBAL(real) dsum, GLOBAL(real) out, GLOBAL(const real) dresidual, GLOBAL(const real) dout,
       GLOBAL(const real) sum, GLOBAL(const real) weight, GLOBAL(const real) bias, GLOBAL(const float) mean,
       GLOBAL(const float) rstd, ARGS(LayerNormArgs) a) {
  const int row = BLOCK_X * (layernorm_backward_threads / kSimd) + THREAD / kSimd, lane = THREAD % kSimd;
  if (row >= a.rows) return;
  const index_t begin = index_t(row) * a.cols;
  const float m = mean[row], r = rstd[row];
  float total_g = 0, total_gx = 0;
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const int n = a.cols - c;
    const float4 g = mul4(load_up_to4(dout, begin + c, n, a.aligned), load_up_to4(weight, c, n, a.aligned));
    const float4 x = normal4(load_up_to4(sum, begin + c, n, a.aligned), m, r);
    total_g += sum_of(g, n);
    total_gx += sum_of(mul4(g, x), n);
  }
  const float mean_g = simd_total(total_g) / float(a.cols), mean_gx = simd_total(total_gx) / float(a.cols);
  for (int c = 4 * lane; c < a.cols; c += 4 * kSimd) {
    const int n = a.cols - c;
    const float4 w = load_up_to4(weight, c, n, a.aligned);
    const float4 g = mul4(load_up_to4(dout, begin + c, n, a.aligned), w);
    const float4 x = normal4(load_up_to4(sum, begin + c, n, a.aligned), m, r);
    float4 dx = mul_add4(x, four_of(-mean_gx), normal4(g, mean_g, 1));
    dx = mul4(dx, four_of(r));
    if (a.has_in != 0) dx = add4(dx, load_up_to4(dresidual, begin + c, n, a.aligned));
    if (a.has_out != 0) store_up_to4(out, begin + c, n, a.aligned, mul_add4(x, w, load_up_to4(bias, c, n, a.aligned)));
    store_up_to4(dsum, begin + c, n, a.aligned, dx);
  }
}

// partial(strip, 2, cols): the sums of dout · x̂, then of dout, over the rows of a strip. A block has 128 columns
// (BLOCK_X) of a strip (BLOCK_Y), each of its simd groups every 8th row.
KERNEL(layernorm_backward_params, GLOBAL(float) partial, GLOBAL(const real) dout, GLOBAL(const real) sum,
       GLOBAL(const float) mean, GLOBAL(const float) rstd, ARGS(LayerNormParamsArgs) a) {
  SHARED_ARRAY(float, sums, layernorm_backward_params_threads * 8);
  const int groups = layernorm_backward_params_threads / kSimd, group = THREAD / kSimd, lane = THREAD % kSimd;
  const int c = BLOCK_X * 4 * kSimd + 4 * lane, n = a.cols - c;
  const int first = BLOCK_Y * a.strip, last = min(first + a.strip, a.rows);
  float4 dweight = four_of(0), dbias = four_of(0);
  if (n > 0) {
    for (int row = first + group; row < last; row += groups) {
      const index_t i = index_t(row) * a.cols + c;
      const float4 d = load_up_to4(dout, i, n, a.aligned);
      dweight = mul_add4(d, normal4(load_up_to4(sum, i, n, a.aligned), mean[row], rstd[row]), dweight);
      dbias = add4(dbias, d);
    }
  }
  // sums(group, 2, column of the block).
  const int at = group * 8 * kSimd + 4 * lane;
  sums[at] = dweight.x;
  sums[at + 1] = dweight.y;
  sums[at + 2] = dweight.z;
  sums[at + 3] = dweight.w;
  sums[at + 4 * kSimd] = dbias.x;
  sums[at + 4 * kSimd + 1] = dbias.y;
  sums[at + 4 * kSimd + 2] = dbias.z;
  sums[at + 4 * kSimd + 3] = dbias.w;
  BARRIER();
  // A thread has one of the 2 x 128 sums.
  const int which = THREAD / (4 * kSimd), column = BLOCK_X * 4 * kSimd + THREAD % (4 * kSimd);
  if (column >= a.cols) return;
  float total = 0;
  for (int i = 0; i < groups; ++i) total += sums[i * 8 * kSimd + THREAD];
  partial[(index_t(BLOCK_Y) * 2 + which) * a.cols + column] = total;
}
