// Sums over whole tensors, in two steps: a partial sum a block, whose number does not depend on the device, then the
// host adds those in double. And the second step of sums that stay on the device.

// partial(BLOCKS_X) = Σ x², each block a strided share of the elements.
KERNEL(sum_squares, GLOBAL(float) partial, GLOBAL(const real) x, ARGS(SumSquaresArgs) a) {
  SHARED_ARRAY(float, scratch, sum_squares_threads / kSimd);
  float sum = 0;
  for (index_t i = index_t(BLOCK_X) * sum_squares_threads + THREAD; i < a.n;
       i += index_t(BLOCKS_X) * sum_squares_threads) {
    const float v = load(x, i);
    sum += v * v;
  }
  sum = block_total(sum, scratch, THREAD, sum_squares_threads);
  if (THREAD == 0) partial[BLOCK_X] = sum;
}

// partial(BLOCKS_X) = how many threads of the block have met a number that is not finite.
KERNEL(count_not_finite, GLOBAL(float) partial, GLOBAL(const real) x, ARGS(CountNotFiniteArgs) a) {
  SHARED_ARRAY(float, scratch, count_not_finite_threads / kSimd);
  float found = 0;
  for (index_t i = index_t(BLOCK_X) * count_not_finite_threads + THREAD; i < a.n;
       i += index_t(BLOCKS_X) * count_not_finite_threads) {
    if (!isfinite(load(x, i))) found = 1;
  }
  found = block_total(found, scratch, THREAD, count_not_finite_threads);
  if (THREAD == 0) partial[BLOCK_X] = found;
}

// out(cols) += Σ_r partial(rows, stride)[r, 0..cols). A block has 32 columns, each of its simd groups every 8th row.
KERNEL(add_partials, GLOBAL(float) out, GLOBAL(const float) partial, ARGS(AddPartialsArgs) a) {
  SHARED_ARRAY(float, sums, add_partials_threads);
  const int groups = add_partials_threads / kSimd, group = THREAD / kSimd, lane = THREAD % kSimd;
  const int column = BLOCK_X * kSimd + lane;
  float sum = 0;
  if (column < a.cols) {
    for (int row = group; row < a.rows; row += groups) sum += partial[index_t(row) * a.stride + column];
  }
  sums[THREAD] = sum;
  BARRIER();
  if (group > 0 || column >= a.cols) return;
  for (int i = 1; i < groups; ++i) sum += sums[i * kSimd + lane];
  out[column] += sum;
}
