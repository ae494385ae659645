#include "ink/bench/calls.h"

#include <fmt/format.h>

#include <array>
#include <tuple>

#include "ink/ops/check_args.h"

namespace ink::bench {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

using enum Access;

std::array<Operand, 5> operands_of(Embed& a) {
  const int64_t T = a.out.shape.rank() == 3 ? a.out.shape[1] : a.out.rows();
  return {{{&a.out, write}, {&a.tokens, read}, {&a.wte, read, a.out.rows()}, {&a.wpe, read, T}, {&a.positions, read}}};
}
std::array<Operand, 4> operands_of(EmbedBackward& a) {
  const int64_t T = a.dout.shape.rank() == 3 ? a.dout.shape[1] : a.dout.rows();
  return {{{&a.dwte, update, a.dout.rows()}, {&a.dwpe, update, T}, {&a.dout, read}, {&a.tokens, read}}};
}
std::array<Operand, 8> operands_of(AddLayerNorm& a) {
  return {{{&a.in, read},
           {&a.residual, read},
           {&a.weight, read},
           {&a.bias, read},
           {&a.sum, write},
           {&a.out, write},
           {&a.mean, write},
           {&a.rstd, write}}};
}
std::array<Operand, 11> operands_of(AddLayerNormBackward& a) {
  return {{{&a.dsum, write},
           {&a.dweight, update},
           {&a.dbias, update},
           {&a.out, write},
           {&a.dresidual, read},
           {&a.dout, read},
           {&a.sum, read},
           {&a.weight, read},
           {&a.bias, read},
           {&a.mean, read},
           {&a.rstd, read}}};
}
std::array<Operand, 7> operands_of(Gemm& a) {
  return {{{&a.a, read},
           {&a.b, read},
           {&a.bias, read},
           {&a.out, a.accumulate ? update : write},
           {&a.gelu_in, write},
           {&a.dgelu_in, read},
           {&a.dbias, update}}};
}
std::array<Operand, 2> operands_of(Gelu& a) { return {{{&a.out, write}, {&a.in, read}}}; }
std::array<Operand, 3> operands_of(Attention& a) { return {{{&a.qkv, read}, {&a.out, write}, {&a.lse, write}}}; }
std::array<Operand, 6> operands_of(AttentionBackward& a) {
  return {{{&a.dqkv, write}, {&a.dout, read}, {&a.qkv, read}, {&a.out, read}, {&a.lse, read}, {&a.delta, scratch}}};
}
// Pages that no row looks at are not touched: only the rows themselves are counted.
std::array<Operand, 7> operands_of(CachedAttention& a) {
  return {{{&a.qkv, read},
           {&a.out, write},
           {&a.k_pages, scratch},
           {&a.v_pages, scratch},
           {&a.sequences, read},
           {&a.positions, read},
           {&a.table, scratch}}};
}
std::array<Operand, 7> operands_of(Classifier& a) {
  return {{{&a.x, read},
           {&a.weight, read},
           {&a.targets, read},
           {&a.losses, write},
           {&a.dx, write},
           {&a.dweight, a.accumulate ? update : write},
           {&a.logits, scratch}}};
}
std::array<Operand, 4> operands_of(AdamW& a) {
  return {{{&a.param, update}, {&a.grad, read}, {&a.m, update}, {&a.v, update}}};
}
std::array<Operand, 3> operands_of(Sgd& a) { return {{{&a.param, update}, {&a.grad, read}, {&a.m, update}}}; }
std::array<Operand, 2> operands_of(Cast& a) { return {{{&a.out, write}, {&a.in, read}}}; }
std::array<Operand, 1> operands_of(Fill& a) { return {{{&a.out, write}}}; }
std::array<Operand, 2> operands_of(Copy& a) { return {{{&a.out, write}, {&a.in, read}}}; }
std::array<Operand, 1> operands_of(SumSquares& a) { return {{{&a.in, read}}}; }
std::array<Operand, 1> operands_of(AllFinite& a) { return {{{&a.in, read}}}; }

// In Call's order.
constexpr std::array<std::string_view, std::variant_size_v<Call>> kNames = {"embed",
                                                                            "embed_backward",
                                                                            "add_layernorm",
                                                                            "add_layernorm_backward",
                                                                            "gemm",
                                                                            "gelu",
                                                                            "attention",
                                                                            "attention_backward",
                                                                            "cached_attention",
                                                                            "classifier",
                                                                            "adamw",
                                                                            "sgd",
                                                                            "cast",
                                                                            "fill",
                                                                            "copy",
                                                                            "sum_squares",
                                                                            "all_finite"};

std::string matrix(const Tensor& t) { return fmt::format("{}x{}", t.rows(), t.cols()); }

std::string attention_shape(const Tensor& out, int heads) {
  return fmt::format("{}x{}, {} heads of {}", out.shape[0], out.shape[1], heads, out.cols() / heads);
}

// The short names of the matrices; Hugging Face's say less.
struct MatrixName {
  std::string_view parameter, name;
};
constexpr std::array kMatrixNames = {
    MatrixName{"attn.c_attn.weight", "qkv"}, MatrixName{"attn.c_proj.weight", "att_proj"},
    MatrixName{"mlp.c_fc.weight", "fc"},     MatrixName{"mlp.c_proj.weight", "fc_proj"},
    MatrixName{"wte.weight", "logits"},
};

std::string short_name(const Param& param) {
  for (const MatrixName& m : kMatrixNames) {
    if (param.name.ends_with(m.parameter)) return std::string(m.name);
  }
  return param.name;
}

}  // namespace

double run(Ops& ops, const Call& call) {
  const auto done = [](auto&& body) {
    body();
    return 0.0;
  };
  return std::visit(Overloaded{
                        [&](const Embed& a) { return done([&] { ops.embed(a); }); },
                        [&](const EmbedBackward& a) { return done([&] { ops.embed_backward(a); }); },
                        [&](const AddLayerNorm& a) { return done([&] { ops.add_layernorm(a); }); },
                        [&](const AddLayerNormBackward& a) { return done([&] { ops.add_layernorm_backward(a); }); },
                        [&](const Gemm& a) { return done([&] { ops.gemm(a); }); },
                        [&](const Gelu& a) { return done([&] { ops.gelu(a); }); },
                        [&](const Attention& a) { return done([&] { ops.attention(a); }); },
                        [&](const AttentionBackward& a) { return done([&] { ops.attention_backward(a); }); },
                        [&](const CachedAttention& a) { return done([&] { ops.cached_attention(a); }); },
                        [&](const Classifier& a) { return done([&] { ops.classifier(a); }); },
                        [&](const AdamW& a) { return done([&] { ops.adamw(a); }); },
                        [&](const Sgd& a) { return done([&] { ops.sgd(a); }); },
                        [&](const Cast& a) { return done([&] { ops.cast(a); }); },
                        [&](const Fill& a) { return done([&] { ops.fill(a.out, a.value); }); },
                        [&](const Copy& a) { return done([&] { ops.copy(a.out, a.in); }); },
                        [&](const SumSquares& a) { return ops.sum_squares(a.in); },
                        [&](const AllFinite& a) { return ops.all_finite(a.in) ? 1.0 : 0.0; },
                    },
                    call);
}

std::vector<Operand> operands(Call& call) {
  return std::visit(
      [](auto& a) {
        const auto all = operands_of(a);
        constexpr size_t kTensors = std::tuple_size_v<decltype(operands_of(a))>;
        static_assert(sizeof a >= kTensors * sizeof(Tensor) && sizeof a < (kTensors + 1) * sizeof(Tensor),
                      "a tensor was added to this struct: it belongs above too");
        std::vector<Operand> given;
        for (const Operand& operand : all) {
          if (*operand.tensor) given.push_back(operand);
        }
        return given;
      },
      call);
}

DType dtype_of_call(const Call& call, DType products) {
  if (std::holds_alternative<Gemm>(call) || std::holds_alternative<Classifier>(call)) return products;
  Call copy = call;
  for (const Operand& o : operands(copy)) {
    if (o.tensor->dtype != DType::i32) return o.tensor->dtype;
  }
  return DType::i32;
}

std::string_view op_name(const Call& call) { return kNames[call.index()]; }

std::vector<std::string_view> op_names() { return {kNames.begin(), kNames.end()}; }

std::string shape_of(const Call& call) {
  return std::visit(Overloaded{
                        [](const Embed& a) { return matrix(a.out); },
                        [](const EmbedBackward& a) { return matrix(a.dout); },
                        [](const AddLayerNorm& a) { return matrix(a.out); },
                        [](const AddLayerNormBackward& a) { return matrix(a.dsum); },
                        [](const Gemm& a) {
                          const GemmDims d = dims_of(a);
                          return fmt::format("{}x{}x{}", d.m, d.n, d.k);
                        },
                        [](const Gelu& a) { return matrix(a.out); },
                        [](const Attention& a) { return attention_shape(a.out, a.heads); },
                        [](const AttentionBackward& a) { return attention_shape(a.out, a.heads); },
                        [](const CachedAttention& a) {
                          return fmt::format("{} rows, {} heads of {}", a.out.rows(), a.heads, a.out.cols() / a.heads);
                        },
                        [](const Classifier& a) { return fmt::format("{}x{}x{}", a.x.rows(), a.vocab, a.x.cols()); },
                        [](const AdamW& a) { return fmt::format("{}", a.param.numel()); },
                        [](const Sgd& a) { return fmt::format("{}", a.param.numel()); },
                        [](const Cast& a) { return fmt::format("{}", a.in.numel()); },
                        [](const Fill& a) { return fmt::format("{}", a.out.numel()); },
                        [](const Copy& a) { return fmt::format("{}", a.out.numel()); },
                        [](const SumSquares& a) { return fmt::format("{}", a.in.numel()); },
                        [](const AllFinite& a) { return fmt::format("{}", a.in.numel()); },
                    },
                    call);
}

std::string CallNames::gemm_name(const Gemm& a) const {
  for (const Param& param : params_) {
    if (a.b.data == param.weight.data) {
      return short_name(param) + (a.trans_b ? "" : " dx") + (a.gelu_in || a.dgelu_in ? "+gelu" : "");
    }
    if (param.grad && a.out.data == param.grad.data) return short_name(param) + (a.accumulate ? " dw+=" : " dw");
  }
  return "gemm";
}

std::string CallNames::operator()(const Call& call) const {
  std::string name(op_name(call));
  return std::visit(Overloaded{
                        [&](const Gemm& a) { return gemm_name(a); },
                        [&](const AddLayerNorm& a) { return a.in ? name : "layernorm"; },
                        [&](const AddLayerNormBackward& a) { return a.dresidual ? name : "layernorm_backward"; },
                        [&](const Classifier& a) { return a.dx ? name + "+grad" : name; },
                        [&](const auto&) { return name; },
                    },
                    call);
}

}  // namespace ink::bench
