// Unpacks the tensors of each operation for its loops in kernels.h.
#include "ink/ref/ref_ops.h"

#include <cassert>

#include "ink/ops/check_args.h"
#include "ink/ref/kernels.h"
#include "ink/tensor/cast.h"

namespace ink {

namespace {

// Weights of any type as floats: those that are kept in copy, unless they are floats already.
const float* floats_of(const Tensor& t, std::vector<float>& copy) {
  if (t.dtype == DType::f32) return t.f32();
  copy.resize(static_cast<size_t>(t.numel()));
  to_f32(t.dtype, t.data, copy);
  return copy.data();
}

}  // namespace

void RefOps::embed(const Embed& a) {
  assert(fits(a));
  std::vector<float> wte;
  ref::embed(a.out.f32(), a.tokens.as<int32_t>(), floats_of(a.wte, wte), a.wpe.f32(), a.out.shape[0], a.out.shape[1],
             a.out.shape[2], a.positions ? a.positions.as<int32_t>() : nullptr);
}

void RefOps::embed_backward(const EmbedBackward& a) {
  assert(fits(a));
  ref::embed_backward(a.dwte.f32(), a.dwpe.f32(), a.dout.f32(), a.tokens.as<int32_t>(), a.dout.shape[0],
                      a.dout.shape[1], a.dout.shape[2]);
}

void RefOps::add_layernorm(const AddLayerNorm& a) {
  assert(fits(a));
  ref::add_layernorm(a.sum.f32(), a.out.f32(), a.mean.f32(), a.rstd.f32(), a.in.f32(), a.residual.f32(), a.weight.f32(),
                     a.bias.f32(), a.out.rows(), a.out.cols(), a.eps);
}

void RefOps::add_layernorm_backward(const AddLayerNormBackward& a) {
  assert(fits(a));
  ref::add_layernorm_backward(a.dsum.f32(), a.dweight.f32(), a.dbias.f32(), a.out.f32(), a.dresidual.f32(),
                              a.dout.f32(), a.sum.f32(), a.weight.f32(), a.bias.f32(), a.mean.f32(), a.rstd.f32(),
                              a.dsum.rows(), a.dsum.cols());
}

void RefOps::gemm(const Gemm& a) {
  assert(fits(a));
  const auto [m, n, k] = dims_of(a);
  const bool blocks = block_of(a.b.dtype) > 1;
  std::vector<float> b;
  const ref::GemmArgs<float> args = {.a = a.a.f32(),
                                     .b = blocks ? nullptr : floats_of(a.b, b),
                                     .bias = a.bias.f32(),
                                     .out = a.out.f32(),
                                     .gelu_in = a.gelu_in.f32(),
                                     .dgelu_in = a.dgelu_in.f32(),
                                     .dbias = a.dbias.f32(),
                                     .trans_a = a.trans_a,
                                     .trans_b = a.trans_b,
                                     .accumulate = a.accumulate,
                                     .M = m,
                                     .N = n,
                                     .K = k};
  if (blocks) {
    ref::gemm_quantized(args, a.b.dtype, a.b.data);
  } else if (products_ == DType::bf16) {
    ref::gemm(args, ref::ToBf16());
  } else {
    ref::gemm(args);
  }
}

void RefOps::gelu(const Gelu& a) {
  assert(fits(a));
  ref::gelu(a.out.f32(), a.in.f32(), a.in.numel());
}

void RefOps::attention(const Attention& a) {
  assert(fits(a));
  ref::attention(a.out.f32(), a.lse.f32(), a.qkv.f32(), a.out.shape[0], a.out.shape[1], a.out.shape[2], a.heads);
}

void RefOps::attention_backward(const AttentionBackward& a) {
  assert(fits(a));
  ref::attention_backward(a.dqkv.f32(), a.delta.f32(), a.dout.f32(), a.qkv.f32(), a.out.f32(), a.lse.f32(),
                          a.out.shape[0], a.out.shape[1], a.out.shape[2], a.heads);
}

void RefOps::cached_attention(const CachedAttention& a) {
  assert(fits(a));
  ref::cached_attention({.qkv = a.qkv.f32(),
                         .out = a.out.f32(),
                         .k_pages = a.k_pages.f32(),
                         .v_pages = a.v_pages.f32(),
                         .sequences = a.sequences.as<int32_t>(),
                         .positions = a.positions.as<int32_t>(),
                         .table = a.table.as<int32_t>(),
                         .R = a.out.rows(),
                         .C = a.out.cols(),
                         .NH = a.heads,
                         .page = kPagePositions,
                         .table_cols = a.table.cols()});
}

void RefOps::classifier(const Classifier& a) {
  assert(fits(a));
  if (a.weight.dtype != DType::f32) {
    for (int64_t n = 0; n < a.x.rows(); ++n) {
      const Tensor logits = a.logits.slice_rows(0, 1);
      gemm({.a = a.x.slice_rows(n, 1), .b = a.weight, .out = logits, .trans_b = true});
      const double lse = ref::log_sum_exp(logits.f32(), a.vocab);
      a.losses.f32()[n] = static_cast<float>(lse - logits.f32()[a.targets.as<int32_t>()[n]]);
    }
    return;
  }
  const auto run = [&](const auto& round) {
    ref::classifier(a.losses.f32(), a.dx.f32(), a.dweight.f32(), a.logits.f32(), a.x.f32(), a.weight.f32(),
                    a.targets.as<int32_t>(), a.x.rows(), a.x.cols(), a.vocab, a.weight.rows(), a.dloss, a.accumulate,
                    round);
  };
  if (products_ == DType::bf16) {
    run(ref::ToBf16());
  } else {
    run(ref::Exact());
  }
}

void RefOps::adamw(const AdamW& a) {
  assert(fits(a));
  ref::adamw(a.param.f32(), a.grad.f32(), a.m.f32(), a.v.f32(), a.param.numel(), a);
}

void RefOps::sgd(const Sgd& a) {
  assert(fits(a));
  ref::sgd(a.param.f32(), a.grad.f32(), a.m.f32(), a.param.numel(), a);
}

double RefOps::sum_squares(const Tensor& x) { return ref::sum_squares(x.f32(), x.numel()); }

bool RefOps::all_finite(const Tensor& x) { return ref::all_finite(x.f32(), x.numel()); }

}  // namespace ink
