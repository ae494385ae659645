// Losses from logits, and the gradients of the logits in their place. A block has a row, which is read twice and
// written once: the sum of exponentials is kept relative to the largest logit so far (Milakov, Gimelshein 2018).

FUNCTION float dlogit(float logit, int v, int target, float largest, float sum, ClassifierArgs a) {
  if (v >= a.vocab) return 0;  // the padding
  return (exp(logit - largest) / sum - (v == target ? 1.0f : 0.0f)) * a.dloss;
}

KERNEL(classifier, GLOBAL(float) losses, GLOBAL(real) logits, GLOBAL(const int) targets, ARGS(ClassifierArgs) a) {
  SHARED_ARRAY(float, group_largest, classifier_threads / kSimd);
  SHARED_ARRAY(float, group_sum, classifier_threads / kSimd);
  const index_t begin = index_t(BLOCK_X) * a.padded;
  const int target = targets[BLOCK_X];
  const float of_target = load(logits, begin + target);
  // Of no logits yet: finite, so that differences are numbers.
  float largest = -3.402823e38f, sum = 0;
  for (int v = 4 * THREAD; v < a.vocab; v += 4 * classifier_threads) {
    const int n = a.vocab - v;
    const float4 x = load_up_to4(logits, begin + v, n, a.aligned);
    const float before = largest;
    largest = max(largest, x.x);
    if (n > 1) largest = max(largest, x.y);
    if (n > 2) largest = max(largest, x.z);
    if (n > 3) largest = max(largest, x.w);
    const float4 p = four(exp(x.x - largest), exp(x.y - largest), exp(x.z - largest), exp(x.w - largest));
    sum = sum * exp(before - largest) + sum_of(p, n);
  }
  // Together: of the simd group, then of the block.
  const float of_group = simd_largest(largest);
  sum = simd_total(sum * exp(largest - of_group));
  if (THREAD % kSimd == 0) {
    group_largest[THREAD / kSimd] = of_group;
    group_sum[THREAD / kSimd] = sum;
  }
  BARRIER();
  largest = group_largest[0];
  for (int i = 1; i < classifier_threads / kSimd; ++i) largest = max(largest, group_largest[i]);
  sum = 0;
  for (int i = 0; i < classifier_threads / kSimd; ++i) sum += group_sum[i] * exp(group_largest[i] - largest);
  if (THREAD == 0) losses[BLOCK_X] = log(sum) - (of_target - largest);
  if (a.gradient == 0) return;
  for (int v = 4 * THREAD; v < a.padded; v += 4 * classifier_threads) {
    const int n = a.padded - v;
    const float4 x = load_up_to4(logits, begin + v, n, a.aligned);
    store_up_to4(logits, begin + v, n, a.aligned,
                 four(dlogit(x.x, v, target, largest, sum, a), dlogit(x.y, v + 1, target, largest, sum, a),
                      dlogit(x.z, v + 2, target, largest, sum, a), dlogit(x.w, v + 3, target, largest, sum, a)));
  }
}
