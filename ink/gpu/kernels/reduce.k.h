// Sums over whole tensors, in two steps: a partial sum a block, whose number does not depend on the device, then the
// host adds those in double.

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
