// The cpu device against the reference: every operation over odd sizes, with every flag. Each case also checks that any
// number of threads gives the same bits, that NaN and infinity come through, that nothing outside the outputs is
// written, and that a second run allocates nothing.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ink/ops/device.h"
#include "ink/ref/kernels.h"
#include "tests/count_allocations.h"

namespace ink {
namespace {

constexpr int kSizes[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 100, 129};
const std::vector<int64_t> kTargets = hwy::SupportedAndGeneratedTargets();  // the best first
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

enum class Role { input, inout, output, scratch };

struct Arg {
  std::string name;
  Shape shape;
  Role role = Role::input;
  int32_t ids = 0;  // above 0: the tensor holds ids in [0, ids)
  float scale = 1;  // standard deviation of the random elements
};

class Arguments;

struct Case {
  std::string name;
  std::vector<Arg> args;
  std::function<void(Ops&, const Arguments&)> run;
  int64_t length = 1;  // terms of the longest sum
  float scale = 1;     // a magnitude below which errors are not counted relative to the result
};

// The tensors of a case, each between guard elements, each with the same content for the same case.
class Arguments {
 public:
  Arguments(const Case& c, int misaligned) : args_(c.args) {
    for (size_t i = 0; i < args_.size(); ++i) {
      const Arg& arg = args_[i];
      const size_t n = arg.shape.numel();
      std::vector<float>& memory = memory_.emplace_back(n + 2 * kGuard + 16, std::bit_cast<float>(kGuardBits));
      const size_t aligned = (64 - reinterpret_cast<uintptr_t>(memory.data() + kGuard) % 64) % 64 / sizeof(float);
      start_.push_back(kGuard + aligned + misaligned);
      std::mt19937 generator(static_cast<uint32_t>(17 + i));
      std::normal_distribution<float> normal(0, arg.scale);
      for (size_t j = 0; j < n; ++j) {
        float value = std::numeric_limits<float>::quiet_NaN();  // outputs are not to be read
        if (arg.ids > 0) {
          const auto id = static_cast<int32_t>(generator() % arg.ids);
          std::memcpy(&value, &id, sizeof value);
        } else if (arg.role == Role::input || arg.role == Role::inout) {
          value = normal(generator);
          if (arg.name == "v") value = std::abs(value);
        }
        memory[start_[i] + j] = value;
      }
    }
  }

  Tensor operator[](const std::string& name) const {
    for (size_t i = 0; i < args_.size(); ++i) {
      if (args_[i].name == name) return tensor(i);
    }
    ADD_FAILURE() << "no argument " << name;
    return {};
  }
  Tensor tensor(size_t i) const {
    auto* data = const_cast<float*>(memory_[i].data() + start_[i]);
    return {data, args_[i].ids > 0 ? DType::i32 : DType::f32, args_[i].shape};
  }
  size_t size() const { return args_.size(); }
  const Arg& arg(size_t i) const { return args_[i]; }

  // The guards hold what they held, and so do the inputs.
  void expect_intact(const Arguments& before) const {
    for (size_t i = 0; i < args_.size(); ++i) {
      const size_t end = start_[i] + args_[i].shape.numel();
      const auto is_guard = [](float x) { return std::bit_cast<uint32_t>(x) == kGuardBits; };
      const std::vector<float>& memory = memory_[i];
      EXPECT_TRUE(std::all_of(memory.begin(), memory.begin() + start_[i], is_guard)) << args_[i].name << ": before";
      EXPECT_TRUE(std::all_of(memory.begin() + end, memory.end(), is_guard)) << args_[i].name << ": behind";
      if (args_[i].role != Role::input) continue;
      EXPECT_EQ(std::memcmp(tensor(i).data, before.tensor(i).data, tensor(i).bytes()), 0) << args_[i].name;
    }
  }

 private:
  static constexpr size_t kGuard = 32;
  static constexpr uint32_t kGuardBits = 0x7fc0beefu;  // a NaN of its own

  std::vector<Arg> args_;
  std::vector<std::vector<float>> memory_;
  std::vector<size_t> start_;
};

struct DeviceTarget {
  std::string device;
  int64_t target;
  DType products = DType::f32;
};

// cpu under every instruction set that this machine has and the kernels were built for, and its variants with
// libraries, where they are linked; and with bf16 products, by instructions for them and by rounding.
std::vector<DeviceTarget> devices_and_targets() {
  std::vector<DeviceTarget> all;
  for (const int64_t target : kTargets) all.push_back({"cpu", target});
  for (const DeviceInfo& device : devices()) {
    if (device.name.starts_with("cpu-")) all.push_back({device.name, kTargets.front()});
  }
  all.push_back({"cpu", kTargets.front(), DType::bf16});
  if (kTargets.size() > 1) all.push_back({"cpu", kTargets.back(), DType::bf16});  // no instructions for it there
  return all;
}

class CpuOps : public testing::TestWithParam<DeviceTarget> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam().target);
    ASSERT_TRUE(cpu_[0]->description().starts_with(hwy::TargetName(GetParam().target)));
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  void check(const Case& c) {
    SCOPED_TRACE(c.name);
    const Arguments before(c, 0);
    Arguments expected(c, 0);
    c.run(*ref_, expected);
    expected.expect_intact(before);
    Arguments first(c, 0);
    c.run(*cpu_[0], first);
    first.expect_intact(before);
    expect_near(c, first, expected);
    for (size_t i = 1; i < cpu_.size(); ++i) {
      SCOPED_TRACE(testing::Message() << i + 1 << " threads");
      Arguments more(c, 0);
      c.run(*cpu_[i], more);
      expect_same_bits(more, first);
    }
    SCOPED_TRACE("misaligned");
    Arguments misaligned(c, 1);
    c.run(*cpu_[1], misaligned);
    misaligned.expect_intact(before);
    expect_same_bits(misaligned, first);
    if (GetParam().target != kTargets.front()) return;  // the rest is the same for all
    check_allocations(c);
    check_non_finite(c);
  }

 private:
  static void expect_near(const Case& c, const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role != Role::inout && got.arg(i).role != Role::output) continue;
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      double largest = c.scale;
      for (const float x : e) largest = std::max(largest, std::abs(double{x}));
      const double bound = kEpsilon * (4 + 2 * std::sqrt(static_cast<double>(c.length))) * largest;
      for (size_t j = 0; j < g.size(); ++j) {
        ASSERT_LE(std::abs(double{g[j]} - e[j]), bound)
            << got.arg(i).name << "[" << j << "] is " << g[j] << ", not " << e[j];
      }
    }
  }

  static void expect_same_bits(const Arguments& got, const Arguments& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role == Role::scratch) continue;
      ASSERT_EQ(std::memcmp(got.tensor(i).data, expected.tensor(i).data, got.tensor(i).bytes()), 0) << got.arg(i).name;
    }
  }

  void check_allocations(const Case& c) {
    Arguments again(c, 0);
    const int64_t before = allocations();
    c.run(*cpu_[1], again);
    EXPECT_EQ(allocations() - before, 0) << "allocations in a second run";
  }

  // One bad element in each input: what is not finite in the reference must not be finite here.
  void check_non_finite(const Case& c) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (size_t i = 0; i < c.args.size(); ++i) {
        if (c.args[i].ids > 0 || c.args[i].role == Role::output || c.args[i].role == Role::scratch) continue;
        Arguments expected(c, 0), got(c, 0);
        const int64_t place = expected.tensor(i).numel() / 2;
        expected.tensor(i).f32()[place] = got.tensor(i).f32()[place] = bad;
        c.run(*ref_, expected);
        c.run(*cpu_[1], got);
        for (size_t k = 0; k < c.args.size(); ++k) {
          if (c.args[k].ids > 0 || c.args[k].role == Role::scratch) continue;
          const std::span<float> g = got.tensor(k).span<float>(), e = expected.tensor(k).span<float>();
          for (size_t j = 0; j < g.size(); ++j) {
            ASSERT_TRUE(std::isfinite(e[j]) || !std::isfinite(g[j]))
                << bad << " in " << c.args[i].name << " is lost on the way to " << c.args[k].name << "[" << j << "]";
          }
        }
      }
    }
  }

  ThreadPool one_{1}, two_{2}, three_{3};
  std::unique_ptr<Ops> ref_ = make_ops("ref", one_, GetParam().products);
  std::vector<std::unique_ptr<Ops>> cpu_ = [this] {
    std::vector<std::unique_ptr<Ops>> ops;
    for (ThreadPool* pool : {&one_, &two_, &three_})
      ops.push_back(make_ops(GetParam().device, *pool, GetParam().products));
    return ops;
  }();
};

std::string label(std::initializer_list<int64_t> dims) {
  std::string text;
  for (const int64_t dim : dims) text += (text.empty() ? "" : " x ") + std::to_string(dim);
  return text;
}

// The i-th of kSizes, going round: strides that have no common divisor with their number give well mixed triples.
int size_at(size_t i) { return kSizes[i % std::size(kSizes)]; }

TEST_P(CpuOps, Embed) {
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

// How the tensors of add_layernorm may be given.
enum class Sum { apart, over_residual, over_in, no_in, no_in_over_residual, none };

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

TEST_P(CpuOps, AddLayerNorm) {
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

TEST_P(CpuOps, AddLayerNormBackward) {
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

// What is not kept from the forward pass comes back bit for bit.
TEST_P(CpuOps, AddLayerNormBackwardGivesTheOutputAgain) {
  const Case forward = layernorm_case(70, 769, Sum::none);
  Arguments f(forward, 0);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  forward.run(*cpu, f);
  std::vector<float> dsum(70 * 769), out(dsum.size()), dweight(769), dbias(769);
  const auto tensor = [](std::vector<float>& v, const Shape& shape) { return Tensor(v.data(), DType::f32, shape); };
  cpu->add_layernorm_backward({.dsum = tensor(dsum, {70, 769}),
                               .dweight = tensor(dweight, {769}),
                               .dbias = tensor(dbias, {769}),
                               .out = tensor(out, {70, 769}),
                               .dout = f["out"],
                               .sum = f["residual"],
                               .weight = f["weight"],
                               .bias = f["bias"],
                               .mean = f["mean"],
                               .rstd = f["rstd"]});
  EXPECT_EQ(std::memcmp(out.data(), f["out"].data, f["out"].bytes()), 0);
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

TEST_P(CpuOps, Gemm) {
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    for (int epilogue = 0; epilogue < 7; ++epilogue) {
      for (const auto& [trans_a, trans_b] : {std::pair{false, true}, {false, false}, {true, false}, {true, true}}) {
        check(gemm_case(kSizes[i], size_at(4 * i + epilogue), size_at(7 * i + 2 * epilogue + 1), trans_a, trans_b,
                        Epilogue{epilogue}));
      }
    }
  }
}

TEST_P(CpuOps, GemmOfManyTiles) {
  check(gemm_case(130, 800, 33, false, true, Epilogue::bias_gelu));
  check(gemm_case(800, 130, 65, false, false, Epilogue::dgelu));
  check(gemm_case(401, 390, 100, true, false, Epilogue::accumulate));
  check(gemm_case(1, 1000, 129, false, true, Epilogue::bias));
  check(gemm_case(129, 257, 200, true, false, Epilogue::accumulate));
  check(gemm_case(128, 128, 600, true, false, Epilogue::none));
  // Beyond one stage in the rows, the depth and both.
  check(gemm_case(1100, 20, 40, true, false, Epilogue::accumulate));
  check(gemm_case(40, 70, 2200, false, true, Epilogue::bias_gelu));
  check(gemm_case(1030, 9, 1030, false, false, Epilogue::dgelu));
}

TEST_P(CpuOps, Gelu) {
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
  std::vector<Heads> shapes = {{2, 130, 3, 33}, {1, 257, 2, 16}, {1, 64, 4, 32}, {1, 128, 1, 64}, {2, 70, 2, 20, 30}};
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    shapes.push_back({static_cast<int64_t>(1 + i % 2), size_at(4 * i + 1), static_cast<int64_t>(1 + i % 3), kSizes[i]});
  }
  return shapes;
}

TEST_P(CpuOps, Attention) {
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

TEST_P(CpuOps, AttentionBackward) {
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

Case classifier_case(int64_t N, int64_t C, int64_t vocab, int64_t padded, int64_t chunk, bool gradient,
                     bool accumulate = true, float scale = 1) {
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

TEST_P(CpuOps, Classifier) {
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    const int N = kSizes[i], C = size_at(4 * i + 1), vocab = size_at(7 * i + 2),
              padded = vocab + static_cast<int>(i % 4);
    for (const int chunk : {1, 7, N, N + 3}) {
      check(classifier_case(N, C, vocab, padded, chunk, true));
      check(classifier_case(N, C, vocab, padded, chunk, true, false));
      check(classifier_case(N, C, vocab, padded, chunk, false));
    }
  }
  check(classifier_case(9, 33, 5003, 5056, 4, true));                // a vocabulary of several pieces
  check(classifier_case(40, 65, 100, 128, 16, true, true, 100.0f));  // logits in the thousands
}

TEST_P(CpuOps, ClassifierLeavesThePaddingAlone) {
  const Case c = classifier_case(5, 8, 7, 16, 2, true);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  const Arguments before(c, 0), after(c, 0);
  c.run(*cpu, after);
  for (int64_t i = 7 * 8; i < 16 * 8; ++i) EXPECT_EQ(after["dweight"].f32()[i], before["dweight"].f32()[i]);
  const Case anew = classifier_case(5, 8, 7, 16, 2, true, false);
  const Arguments written(anew, 0);
  anew.run(*cpu, written);
  for (int64_t i = 7 * 8; i < 16 * 8; ++i) EXPECT_EQ(written["dweight"].f32()[i], 0);
}

TEST_P(CpuOps, Optimizers) {
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

TEST_P(CpuOps, SumSquares) {
  std::vector<int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  sizes.push_back(40000);
  for (const int64_t n : sizes) {
    check({.name = label({n}),
           .args = {{.name = "x", .shape = {n}}, {.name = "result", .shape = {1}, .role = Role::output}},
           .run = [](Ops& ops, const Arguments& t) {
             t["result"].f32()[0] = static_cast<float>(ops.sum_squares(t["x"]));
           }});
  }
  // In double: squares that overflow or vanish in float.
  std::vector<float> x(1000, 1e30f);
  std::fill(x.begin() + 500, x.end(), 1e-30f);
  ThreadPool pool(2);
  const double sum =
      make_ops(GetParam().device, pool, GetParam().products)->sum_squares(Tensor(x.data(), DType::f32, {1000}));
  EXPECT_NEAR(sum / 5e62, 1.0, 1e-6);
}

TEST_P(CpuOps, AllFiniteFindsOneBadElementAnywhere) {
  ThreadPool pool(2);
  for (const std::string& device : {GetParam().device, std::string("ref")}) {
    const std::unique_ptr<Ops> ops = make_ops(device, pool);
    for (const int64_t n : {1, 5, 16, 33, 40000}) {
      std::vector<float> x(n, std::numeric_limits<float>::max());
      const Tensor t(x.data(), DType::f32, {n});
      EXPECT_TRUE(ops->all_finite(t));
      for (const int64_t place : {int64_t{0}, n / 2, n - 1}) {
        for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
          x[place] = bad;
          EXPECT_FALSE(ops->all_finite(t)) << device << " " << n << " " << place << " " << bad;
          EXPECT_FALSE(std::isfinite(ops->sum_squares(t)));
          x[place] = 1;
        }
      }
    }
  }
}

// x · 1 is x rounded, for ties, the largest numbers, infinity and NaN too, at odd depths as well.
TEST_P(CpuOps, ProductsRoundTheirInputs) {
  std::vector<float> x;
  for (uint32_t upper = 0; upper < 0x10000; upper += 7) {
    if ((upper & 0x7f80) == 0) continue;  // subnormal
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> a(3), out(n);
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  const auto tensor = [](std::vector<float>& v, const Shape& shape) { return Tensor(v.data(), DType::f32, shape); };
  for (const int64_t k : {1, 2, 3}) {  // x in the last row of b, zeros above
    std::fill(a.begin(), a.end(), 0.0f);
    a[k - 1] = 1;
    std::vector<float> b(k * n);
    std::copy(x.begin(), x.end(), b.end() - n);
    cpu->gemm({.a = tensor(a, {1, k}), .b = tensor(b, {k, n}), .out = tensor(out, {1, n})});
    for (int64_t i = 0; i < n; ++i) {
      const float expected = GetParam().products == DType::bf16 ? bf16_to_f32(f32_to_bf16(x[i])) : x[i];
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(out[i])) << std::bit_cast<uint32_t>(x[i]);
      } else {
        ASSERT_EQ(out[i], expected) << std::bit_cast<uint32_t>(x[i]);
      }
    }
  }
}

// gelu in float knows e^-2u, u its argument, to a few times |u| roundings; the slope lies between -0.13 and 1.13.
TEST_P(CpuOps, GeluIsAccurate) {
  const int64_t n = 240001;
  std::vector<float> x(n), y(n), slope(n), one = {1};
  const std::vector<float> ones(n, 1.0f);
  for (int64_t i = 0; i < n; ++i) x[i] = -12 + 1e-4f * static_cast<float>(i);
  const auto tensor = [](const std::vector<float>& v, const Shape& shape) {
    return Tensor(const_cast<float*>(v.data()), DType::f32, shape);
  };
  ThreadPool pool(2);
  const std::unique_ptr<Ops> cpu = make_ops(GetParam().device, pool, GetParam().products);
  cpu->gelu({.out = tensor(y, {n}), .in = tensor(x, {n})});
  cpu->gemm({.a = tensor(one, {1, 1}),
             .b = tensor(ones, {1, n}),
             .out = tensor(slope, {1, n}),
             .dgelu_in = tensor(x, {1, n})});
  for (int64_t i = 0; i < n; ++i) {
    const double value = ref::gelu_value(x[i]), u = 0.8 * std::abs(x[i] + 0.045 * std::pow(x[i], 3));
    ASSERT_LE(std::abs(y[i] - value), kEpsilon * (3 + (x[i] < 0 ? 3 * u : 0)) * std::abs(value) + 1e-15) << x[i];
    ASSERT_LE(std::abs(slope[i] - ref::gelu_slope(x[i])), 4 * kEpsilon) << x[i];
  }
  // Far out: where squares of x overflow.
  for (const float far : {30.0f, 1e10f, 1e30f}) {
    std::vector<float> in = {far, -far}, out(2), slopes(2);
    cpu->gelu({.out = tensor(out, {2}), .in = tensor(in, {2})});
    cpu->gemm({.a = tensor(one, {1, 1}),
               .b = tensor(ones, {1, 2}),
               .out = tensor(slopes, {1, 2}),
               .dgelu_in = tensor(in, {1, 2})});
    EXPECT_EQ(out[0], far);
    EXPECT_NEAR(out[1] / far, 0, 1e-30);
    EXPECT_EQ(slopes[0], 1);
    EXPECT_NEAR(slopes[1], 0, 1e-30);
  }
}

INSTANTIATE_TEST_SUITE_P(Target, CpuOps, testing::ValuesIn(devices_and_targets()), [](const auto& i) {
  std::string name = i.param.device + "_" + hwy::TargetName(i.param.target);
  if (i.param.products == DType::bf16) name += "_bf16";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace ink
