// Steps of the optimizers, four elements a thread: they move memory, and compute little.

FUNCTION float adamw_step(float param, float m, float v, AdamWArgs a) {
  return param - a.lr * (m * a.m_scale / (sqrt(v * a.v_scale) + a.eps) + a.weight_decay * param);
}

KERNEL(adamw, GLOBAL(float) param, GLOBAL(const float) grad, GLOBAL(float) m, GLOBAL(float) v, ARGS(AdamWArgs) a) {
  const index_t i = 4 * (index_t(BLOCK_X) * adamw_threads + THREAD);
  if (i >= a.n) return;
  const int n = int(min(a.n - i, index_t(4)));
  const float4 g = mul4(load_up_to4(grad, i, n, a.aligned), four_of(a.grad_scale));
  const float4 m1 = mul_add4(four_of(a.beta1), load_up_to4(m, i, n, a.aligned), mul4(four_of(1 - a.beta1), g));
  const float4 v1 = mul_add4(four_of(a.beta2), load_up_to4(v, i, n, a.aligned), mul4(mul4(four_of(1 - a.beta2), g), g));
  float4 p = load_up_to4(param, i, n, a.aligned);
  p = four(adamw_step(p.x, m1.x, v1.x, a), adamw_step(p.y, m1.y, v1.y, a), adamw_step(p.z, m1.z, v1.z, a),
           adamw_step(p.w, m1.w, v1.w, a));
  store_up_to4(m, i, n, a.aligned, m1);
  store_up_to4(v, i, n, a.aligned, v1);
  store_up_to4(param, i, n, a.aligned, p);
}

KERNEL(sgd, GLOBAL(float) param, GLOBAL(const float) grad, GLOBAL(float) m, ARGS(SgdArgs) a) {
  const index_t i = 4 * (index_t(BLOCK_X) * sgd_threads + THREAD);
  if (i >= a.n) return;
  const int n = int(min(a.n - i, index_t(4)));
  float4 p = load_up_to4(param, i, n, a.aligned);
  const float4 d =
      mul_add4(load_up_to4(grad, i, n, a.aligned), four_of(a.grad_scale), mul4(four_of(a.weight_decay), p));
  const float4 m1 = mul_add4(four_of(a.momentum), load_up_to4(m, i, n, a.aligned), d);
  p = mul_add4(four_of(-a.lr), m1, p);
  store_up_to4(m, i, n, a.aligned, m1);
  store_up_to4(param, i, n, a.aligned, p);
}
