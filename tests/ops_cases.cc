#include "tests/ops_cases.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "ink/tensor/cast.h"

namespace ink {

namespace {

constexpr size_t kGuardBytes = 256;
constexpr auto kGuardByte = std::byte{0xa5};

// Statistics, losses, gradients of parameters and what the optimizer reads and writes are f32 always.
constexpr std::string_view kAlwaysF32[] = {"mean", "rstd", "lse",   "delta", "losses", "dweight", "dbias",
                                           "dwte", "dwpe", "param", "grad",  "m",      "v",       "result"};

}  // namespace

DType Arguments::dtype_on_device(size_t i, DType real) const {
  if (args_[i].ids > 0) return DType::i32;
  if (std::ranges::find(kAlwaysF32, args_[i].name) != std::end(kAlwaysF32)) return DType::f32;
  // The product that gives a weight's gradient, beside its bias's.
  const bool gradient = std::ranges::any_of(args_, [](const Arg& arg) { return arg.name == "dbias"; });
  const bool product = std::ranges::any_of(args_, [](const Arg& arg) { return arg.name == "b"; });
  if (gradient && product && args_[i].name == "out") return DType::f32;
  return real;
}

void Arguments::round_to(DType real) {
  const bool sums = std::ranges::any_of(args_, [](const Arg& arg) { return arg.name == "residual"; });
  for (size_t i = 0; i < args_.size(); ++i) {
    if (dtype_on_device(i, real) != DType::bf16) continue;
    for (float& x : tensor(i).span<float>()) x = bf16_to_f32(f32_to_bf16(x));
    // in + residual is to need no rounding: of a row of two, almost alike, rstd tells every bit of the difference.
    if (!sums || (args_[i].name != "residual" && args_[i].name != "in")) continue;
    for (float& x : tensor(i).span<float>()) x = std::rint(x * 16) / 16;
  }
}

void Arguments::upload(Ops& ops, DType real) {
  std::vector<std::byte> bytes;
  std::vector<size_t> places;
  for (size_t i = 0; i < args_.size(); ++i) {
    const DType dtype = dtype_on_device(i, real);
    const Tensor host = tensor(i);
    const size_t place = (bytes.size() + 2 * kGuardBytes - 1) / kGuardBytes * kGuardBytes;
    bytes.resize(place, kGuardByte);
    bytes.resize(place + bytes_of(dtype, host.numel()));
    if (dtype == DType::bf16) {
      from_f32({reinterpret_cast<const float*>(host.data), static_cast<size_t>(host.numel())}, dtype, &bytes[place]);
    } else {
      std::memcpy(&bytes[place], host.data, host.bytes());
    }
    places.push_back(place);
  }
  bytes.resize((bytes.size() + 2 * kGuardBytes) / 4 * 4, kGuardByte);
  device_ = ops.allocate(bytes.size());
  ops.upload({device_->data(), DType::f32, {static_cast<int64_t>(bytes.size() / 4)}}, bytes.data());
  on_device_.clear();
  for (size_t i = 0; i < args_.size(); ++i) {
    on_device_.emplace_back(device_->data() + places[i], dtype_on_device(i, real), args_[i].shape);
  }
}

void Arguments::download(Ops& ops) {
  std::vector<std::byte> bytes(device_->size() / 4 * 4);
  ops.download(bytes.data(), {device_->data(), DType::f32, {static_cast<int64_t>(bytes.size() / 4)}});
  size_t end = 0;
  for (size_t i = 0; i < args_.size(); ++i) {
    const Tensor& there = on_device_[i];
    const auto place = static_cast<size_t>(there.data - device_->data());
    const auto is_guard = [](std::byte b) { return b == kGuardByte; };
    EXPECT_TRUE(std::all_of(&bytes[end], &bytes[place], is_guard)) << args_[i].name << ": before";
    end = place + there.bytes();
    const Tensor host = tensor(i);
    if (there.dtype == DType::bf16) {
      to_f32(there.dtype, &bytes[place], {reinterpret_cast<float*>(host.data), static_cast<size_t>(host.numel())});
    } else {
      std::memcpy(host.data, &bytes[place], host.bytes());
    }
  }
  device_.reset();
}

std::string label(std::initializer_list<int64_t> dims) {
  std::string text;
  for (const int64_t dim : dims) text += (text.empty() ? "" : " x ") + std::to_string(dim);
  return text;
}

// The i-th of kSizes, going round: strides that have no common divisor with their number give well mixed triples.
int size_at(size_t i) { return kSizes[i % std::size(kSizes)]; }

void embed_cases(const Check& check) {
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    const int B = 1 + static_cast<int>(i % 3), T = size_at(4 * i + 1), C = kSizes[i], V = 11;
    check({.name = label({B, T, C}),
           .args = {{.name = "out", .shape = {B, T, C}, .role = Role::output},
                    {.name = "tokens", .shape = {B, T}, .ids = V},
                    {.name = "wte", .shape = {V, C}},
                    {.name = "wpe", .shape = {T + 2, C}}},
           .run = [](Ops& ops, const Arguments& t) {
             ops.embed({t["out"], t["tokens"], t["wte"], t["wpe"]});
           }});
    check({.name = label({B, T, C}) + " backward",
           .args = {{.name = "dwte", .shape = {V, C}, .role = Role::inout},
                    {.name = "dwpe", .shape = {T + 2, C}, .role = Role::inout},
                    {.name = "dout", .shape = {B, T, C}},
                    {.name = "tokens", .shape = {B, T}, .ids = V}},
           .run =
               [](Ops& ops, const Arguments& t) {
                 ops.embed_backward({t["dwte"], t["dwpe"], t["dout"], t["tokens"]});
               },
           .length = B * T});
  }
}

Case layernorm_case(int64_t N, int64_t C, Sum kind) {
  const bool has_in = kind == Sum::apart || kind == Sum::over_residual || kind == Sum::over_in;
  const bool has_sum = kind == Sum::apart || kind == Sum::no_in;
  const bool over_residual = kind == Sum::over_residual || kind == Sum::no_in_over_residual;
  Case c{.name = label({N, C}) + " kind " + std::to_string(static_cast<int>(kind)),
         .args = {{.name = "residual", .shape = {N, C}, .role = over_residual ? Role::inout : Role::input},
                  {.name = "weight", .shape = {C}},
                  {.name = "bias", .shape = {C}},
                  {.name = "out", .shape = {N, C}, .role = Role::output},
                  {.name = "mean", .shape = {N}, .role = Role::output},
                  {.name = "rstd", .shape = {N}, .role = Role::output}},
         .run =
             [=](Ops& ops, const Arguments& t) {
               const Tensor sum = has_sum                ? t["sum"]
                                  : over_residual        ? t["residual"]
                                  : kind == Sum::over_in ? t["in"]
                                                         : Tensor();
               ops.add_layernorm({.in = has_in ? t["in"] : Tensor(),
                                  .residual = t["residual"],
                                  .weight = t["weight"],
                                  .bias = t["bias"],
                                  .sum = sum,
                                  .out = t["out"],
                                  .mean = t["mean"],
                                  .rstd = t["rstd"],
                                  .eps = 1e-3f});
             },
         .length = C};
  if (has_in)
    c.args.push_back({.name = "in", .shape = {N, C}, .role = kind == Sum::over_in ? Role::inout : Role::input});
  if (has_sum) c.args.push_back({.name = "sum", .shape = {N, C}, .role = Role::output});
  return c;
}

void layernorm_cases(const Check& check) {
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    for (int kind = 0; kind < 6; ++kind) check(layernorm_case(size_at(4 * i + 1), kSizes[i], Sum{kind}));
  }
  check(layernorm_case(70, 768, Sum::over_residual));
}

// Where the gradient along the residual stream lies.
enum class Along { none, apart, over };
// Where the layer norm's output goes.
enum class Again { none, apart, over_dout };

Case layernorm_backward_case(int64_t N, int64_t C, Along along, Again again) {
  Case c{.name = label({N, C}) + " along " + std::to_string(static_cast<int>(along)) + " again " +
                 std::to_string(static_cast<int>(again)),
         .args = {{.name = "dsum", .shape = {N, C}, .role = along == Along::over ? Role::inout : Role::output},
                  {.name = "dweight", .shape = {C}, .role = Role::inout},
                  {.name = "dbias", .shape = {C}, .role = Role::inout},
                  {.name = "dout", .shape = {N, C}, .role = again == Again::over_dout ? Role::inout : Role::input},
                  {.name = "sum", .shape = {N, C}},
                  {.name = "weight", .shape = {C}},
                  {.name = "mean", .shape = {N}},
                  {.name = "rstd", .shape = {N}}},
         .run =
             [=](Ops& ops, const Arguments& t) {
               ops.add_layernorm_backward({.dsum = t["dsum"],
                                           .dweight = t["dweight"],
                                           .dbias = t["dbias"],
                                           .out = again == Again::none    ? Tensor()
                                                  : again == Again::apart ? t["out"]
                                                                          : t["dout"],
                                           .dresidual = along == Along::none    ? Tensor()
                                                        : along == Along::apart ? t["dresidual"]
                                                                                : t["dsum"],
                                           .dout = t["dout"],
                                           .sum = t["sum"],
                                           .weight = t["weight"],
                                           .bias = again != Again::none ? t["bias"] : Tensor(),
                                           .mean = t["mean"],
                                           .rstd = t["rstd"]});
             },
         .length = N + C};
  if (along == Along::apart) c.args.push_back({.name = "dresidual", .shape = {N, C}});
  if (again != Again::none) c.args.push_back({.name = "bias", .shape = {C}});
  if (again == Again::apart) c.args.push_back({.name = "out", .shape = {N, C}, .role = Role::output});
  return c;
}

void layernorm_backward_cases(const Check& check) {
  std::vector<std::pair<int64_t, int64_t>> shapes = {{70, 768}, {1500, 9}};
  for (size_t i = 0; i < std::size(kSizes); ++i) shapes.push_back({size_at(4 * i + 1), kSizes[i]});
  for (const auto& [N, C] : shapes) {
    for (const Along along : {Along::none, Along::apart, Along::over}) {
      for (const Again again : {Again::none, Again::apart, Again::over_dout}) {
        check(layernorm_backward_case(N, C, along, again));
      }
    }
  }
}

enum class Epilogue { none, bias, gelu, bias_gelu, dgelu, accumulate, accumulate_bias };

Case gemm_case(int64_t M, int64_t N, int64_t K, bool trans_a, bool trans_b, Epilogue epilogue) {
  const bool bias =
      epilogue == Epilogue::bias || epilogue == Epilogue::bias_gelu || epilogue == Epilogue::accumulate_bias;
  const bool gelu = epilogue == Epilogue::gelu || epilogue == Epilogue::bias_gelu;
  const bool dgelu = epilogue == Epilogue::dgelu;
  const bool accumulate = epilogue == Epilogue::accumulate || epilogue == Epilogue::accumulate_bias;
  Case c{.name = label({M, N, K}) + (trans_a ? " ta" : "") + (trans_b ? " tb" : "") + " epilogue " +
                 std::to_string(static_cast<int>(epilogue)),
         .args = {{.name = "a", .shape = trans_a ? Shape{K, M} : Shape{M, K}},
                  {.name = "b", .shape = trans_b ? Shape{N, K} : Shape{K, N}},
                  {.name = "out", .shape = {M, N}, .role = accumulate ? Role::inout : Role::output}},
         .run =
             [=](Ops& ops, const Arguments& t) {
               ops.gemm({.a = t["a"],
                         .b = t["b"],
                         .bias = bias ? t["bias"] : Tensor(),
                         .out = t["out"],
                         .gelu_in = gelu ? t["gelu_in"] : Tensor(),
                         .dgelu_in = dgelu ? t["dgelu_in"] : Tensor(),
                         .dbias = trans_a ? t["dbias"] : Tensor(),
                         .trans_a = trans_a,
                         .trans_b = trans_b,
                         .accumulate = accumulate});
             },
         .length = K,
         .scale = std::sqrt(static_cast<float>(K))};
  if (bias) c.args.push_back({.name = "bias", .shape = {N}});
  if (gelu) c.args.push_back({.name = "gelu_in", .shape = {M, N}, .role = Role::output});
  if (dgelu) c.args.push_back({.name = "dgelu_in", .shape = {M, N}, .scale = 2});
  if (trans_a) c.args.push_back({.name = "dbias", .shape = {M}, .role = Role::inout});
  return c;
}

void gemm_cases(const Check& check) {
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    for (int epilogue = 0; epilogue < 7; ++epilogue) {
      for (const auto& [trans_a, trans_b] : {std::pair{false, true}, {false, false}, {true, false}, {true, true}}) {
        check(gemm_case(kSizes[i], size_at(4 * i + epilogue), size_at(7 * i + 2 * epilogue + 1), trans_a, trans_b,
                        Epilogue{epilogue}));
      }
    }
  }
}

void large_gemm_cases(const Check& check) {
  check(gemm_case(130, 800, 33, false, true, Epilogue::bias_gelu));
  check(gemm_case(800, 130, 65, false, false, Epilogue::dgelu));
  check(gemm_case(401, 390, 100, true, false, Epilogue::accumulate));
  check(gemm_case(1, 1000, 129, false, true, Epilogue::bias));
  check(gemm_case(129, 257, 200, true, false, Epilogue::accumulate));
  check(gemm_case(128, 128, 600, true, false, Epilogue::none));
  check(gemm_case(40, 30, 700, true, false, Epilogue::accumulate));
  // Beyond one stage in the rows, the depth and both.
  check(gemm_case(1100, 20, 40, true, false, Epilogue::accumulate));
  check(gemm_case(40, 70, 2200, false, true, Epilogue::bias_gelu));
  check(gemm_case(1030, 9, 1030, false, false, Epilogue::dgelu));
}

void gelu_cases(const Check& check) {
  std::vector<int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.push_back(40000);  // more than one task
  for (const int64_t n : sizes) {
    check({.name = label({n}),
           .args = {{.name = "out", .shape = {n}, .role = Role::output}, {.name = "in", .shape = {n}, .scale = 3}},
           .run = [](Ops& ops, const Arguments& t) { ops.gelu({.out = t["out"], .in = t["in"]}); },
           .length = 4});
    check({.name = label({n}) + " in place",
           .args = {{.name = "x", .shape = {n}, .role = Role::inout, .scale = 3}},
           .run = [](Ops& ops, const Arguments& t) { ops.gelu({.out = t["x"], .in = t["x"]}); },
           .length = 4});
  }
}

struct Heads {
  int64_t B, T, NH, HS;
  float scale = 1;
};

std::vector<Heads> attention_shapes() {
  std::vector<Heads> shapes = {{2, 130, 3, 33},    {1, 257, 2, 16}, {1, 64, 4, 32},  {1, 128, 1, 64},
                               {2, 70, 2, 20, 30}, {1, 40, 2, 80},  {1, 66, 1, 128}, {1, 65, 1, 200}};
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    shapes.push_back({static_cast<int64_t>(1 + i % 2), size_at(4 * i + 1), static_cast<int64_t>(1 + i % 3), kSizes[i]});
  }
  return shapes;
}

void attention_cases(const Check& check) {
  for (const auto& [B, T, NH, HS, scale] : attention_shapes()) {
    const int64_t C = NH * HS;
    const int heads = static_cast<int>(NH);
    check({.name = label({B, T, NH, HS}),
           .args = {{.name = "qkv", .shape = {B, T, 3 * C}, .scale = scale},
                    {.name = "out", .shape = {B, T, C}, .role = Role::output},
                    {.name = "lse", .shape = {B, NH, T}, .role = Role::output}},
           .run =
               [heads](Ops& ops, const Arguments& t) {
                 ops.attention({.qkv = t["qkv"], .out = t["out"], .lse = t["lse"], .heads = heads});
               },
           // An error of a score is one of its weight: scores of thousands are known to a thousandth.
           .length = static_cast<int64_t>((T + HS) * std::pow(scale, 4))});
  }
}

void attention_backward_cases(const Check& check) {
  for (const auto& [B, T, NH, HS, scale] : attention_shapes()) {
    if (scale != 1) continue;  // out and lse here are any numbers; exp(score - lse) must stay in range
    const int64_t C = NH * HS;
    const int heads = static_cast<int>(NH);
    check({.name = label({B, T, NH, HS}),
           .args = {{.name = "dqkv", .shape = {B, T, 3 * C}, .role = Role::output},
                    {.name = "dout", .shape = {B, T, C}},
                    {.name = "qkv", .shape = {B, T, 3 * C}},
                    {.name = "out", .shape = {B, T, C}},
                    {.name = "lse", .shape = {B, NH, T}},
                    {.name = "delta", .shape = {B, NH, T}, .role = Role::output}},
           .run =
               [heads](Ops& ops, const Arguments& t) {
                 ops.attention_backward({.dqkv = t["dqkv"],
                                         .dout = t["dout"],
                                         .qkv = t["qkv"],
                                         .out = t["out"],
                                         .lse = t["lse"],
                                         .delta = t["delta"],
                                         .heads = heads});
               },
           .length = T + HS,
           .scale = std::sqrt(static_cast<float>(HS))});
  }
}

Case classifier_case(int64_t N, int64_t C, int64_t vocab, int64_t padded, int64_t chunk, bool gradient, bool accumulate,
                     float scale) {
  Case c{
      .name = label({N, C, vocab, padded, chunk}) + (gradient ? " gradient" : "") + (accumulate ? " accumulate" : ""),
      .args = {{.name = "x", .shape = {N, C}, .scale = scale},
               {.name = "weight", .shape = {padded, C}},
               {.name = "targets", .shape = {N}, .ids = static_cast<int32_t>(vocab)},
               {.name = "losses", .shape = {N}, .role = Role::output},
               {.name = "logits", .shape = {chunk, padded}, .role = Role::scratch}},
      .run =
          [=](Ops& ops, const Arguments& t) {
            ops.classifier({.x = t["x"],
                            .weight = t["weight"],
                            .targets = t["targets"],
                            .losses = t["losses"],
                            .dx = gradient ? t["dx"] : Tensor(),
                            .dweight = gradient ? t["dweight"] : Tensor(),
                            .logits = t["logits"],
                            .vocab = vocab,
                            .dloss = 0.25f,
                            .accumulate = accumulate});
          },
      .length = static_cast<int64_t>((N + C) * scale * scale),
      .scale = std::sqrt(static_cast<float>(C))};
  if (gradient) {
    c.args.push_back({.name = "dx", .shape = {N, C}, .role = Role::output});
    c.args.push_back({.name = "dweight", .shape = {padded, C}, .role = accumulate ? Role::inout : Role::output});
  }
  return c;
}

void classifier_cases(const Check& check) {
  check(classifier_case(9, 33, 5003, 5056, 4, true));                // a vocabulary of several pieces
  check(classifier_case(40, 65, 100, 128, 16, true, true, 100.0f));  // logits in the thousands
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    const int N = kSizes[i], C = size_at(4 * i + 1), vocab = size_at(7 * i + 2),
              padded = vocab + static_cast<int>(i % 4);
    for (const int chunk : {1, 7, N, N + 3}) {
      check(classifier_case(N, C, vocab, padded, chunk, true));
      check(classifier_case(N, C, vocab, padded, chunk, true, false));
      check(classifier_case(N, C, vocab, padded, chunk, false));
    }
  }
}

void optimizer_cases(const Check& check) {
  std::vector<int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.push_back(40000);
  for (const int64_t n : sizes) {
    for (const int64_t step : {1, 10, 100000}) {
      check({.name = "adamw " + label({n, step}),
             .args = {{.name = "param", .shape = {n}, .role = Role::inout},
                      {.name = "grad", .shape = {n}},
                      {.name = "m", .shape = {n}, .role = Role::inout},
                      {.name = "v", .shape = {n}, .role = Role::inout}},
             .run = [step](Ops& ops, const Arguments& t) {
               ops.adamw({.param = t["param"],
                          .grad = t["grad"],
                          .m = t["m"],
                          .v = t["v"],
                          .lr = 0.1f,
                          .beta1 = 0.9f,
                          .beta2 = 0.99f,
                          .eps = 1e-3f,
                          .weight_decay = 0.2f,
                          .grad_scale = 0.5f,
                          .step = step});
             }});
    }
    check({.name = "sgd " + label({n}),
           .args = {{.name = "param", .shape = {n}, .role = Role::inout},
                    {.name = "grad", .shape = {n}},
                    {.name = "m", .shape = {n}, .role = Role::inout}},
           .run = [](Ops& ops, const Arguments& t) {
             ops.sgd({.param = t["param"],
                      .grad = t["grad"],
                      .m = t["m"],
                      .lr = 0.1f,
                      .momentum = 0.9f,
                      .weight_decay = 0.2f,
                      .grad_scale = 0.5f});
           }});
  }
}

void cast_cases(const Check& check) {
  std::vector<int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.push_back(40000);
  for (const int64_t n : sizes) {
    for (const uint32_t seed : {0u, 1u, 0xfffffff1u}) {
      check(
          {.name = label({n, seed}),
           .args = {{.name = "out", .shape = {n}, .role = Role::output}, {.name = "grad", .shape = {n}}},
           .run = [seed](Ops& ops, const Arguments& t) { ops.cast({.out = t["out"], .in = t["grad"], .seed = seed}); },
           .scale = seed == 0 ? 1.0f : 2.0f});
    }
  }
}

void sum_squares_cases(const Check& check) {
  std::vector<int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.push_back(40000);
  for (const int64_t n : sizes) {
    check({.name = label({n}),
           .args = {{.name = "x", .shape = {n}}, {.name = "result", .shape = {1}, .role = Role::output}},
           .run = [](Ops& ops, const Arguments& t) {
             const auto sum = static_cast<float>(ops.sum_squares(t["x"]));
             ops.upload(t["result"], &sum);
           }});
  }
}

}  // namespace ink
