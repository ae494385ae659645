#include "ink/bench/costs.h"

#include <type_traits>

#include "ink/ops/check_args.h"

namespace ink::bench {

namespace {

double bytes_of(const Call& call) {
  Call copy = call;
  double bytes = 0;
  for (const Operand& o : operands(copy)) {
    const auto all = static_cast<double>(o.tensor->bytes());
    const double touched = o.rows < 0 ? all : all / static_cast<double>(o.tensor->rows()) * static_cast<double>(o.rows);
    if (o.access != Access::scratch) bytes += o.access == Access::update ? 2 * touched : touched;
  }
  return bytes;
}

double product(int64_t m, int64_t n, int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

// One product of attention over the causal half, of all heads: B·C·T·(T+1), since 2·HS·T·(T+1)/2 for each head.
double causal_product(const Tensor& out) {
  const int64_t B = out.shape[0], T = out.shape[1], C = out.shape[2];
  return static_cast<double>(B * C) * static_cast<double>(T) * static_cast<double>(T + 1);
}

double flops_of(const Gemm& a) {
  const GemmDims d = dims_of(a);
  return product(d.m, d.n, d.k);
}
double flops_of(const Attention& a) { return 2 * causal_product(a.out); }
double flops_of(const AttentionBackward& a) { return 5 * causal_product(a.out); }
double flops_of(const Classifier& a) { return (a.dx ? 3 : 1) * product(a.x.rows(), a.vocab, a.x.cols()); }

}  // namespace

Cost cost_of(const Call& call) {
  return std::visit(
      [&](const auto& a) -> Cost {
        if constexpr (requires { flops_of(a); }) {
          return {.bound = Bound::compute, .flops = flops_of(a), .bytes = bytes_of(call)};
        } else {
          return {.bound = Bound::memory, .flops = 0, .bytes = bytes_of(call)};
        }
      },
      call);
}

double peak_for(Bound bound, const Peaks& peaks) { return bound == Bound::compute ? peaks.flops : peaks.memory.best(); }

Floor floor_of(const Gpt2Config& config, int64_t tokens, int64_t seq_len, const Peaks& peaks) {
  constexpr double kAdamBytes = 28;
  Floor floor = {.flops = config.flops_per_token(seq_len) * static_cast<double>(tokens)};
  if (peaks.flops > 0) floor.compute = floor.flops / peaks.flops;
  if (peaks.memory.update > 0) {
    floor.optimizer = kAdamBytes * static_cast<double>(config.parameters()) / peaks.memory.update;
  }
  return floor;
}

}  // namespace ink::bench
