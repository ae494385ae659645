// The benchmarks: what they count and name, and that they change nothing of what they measure. No test asserts a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/bench/bench_ops.h"
#include "ink/bench/bench_train.h"
#include "ink/bench/machine.h"
#include "ink/bench/timed_ops.h"
#include "ink/cpu/isa.h"
#include "tests/model_helpers.h"

namespace ink::bench {
namespace {

template <class Body>
std::string usage_error_of(const Body& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no usage error";
}

void expect_holds(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " not in " << text;
}

// Statistics.

TEST(Spread, QuartilesAreInterpolated) {
  const Spread s = spread_of({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(s.median, 2.5);
  EXPECT_DOUBLE_EQ(s.low, 1.75);
  EXPECT_DOUBLE_EQ(s.high, 3.25);
  EXPECT_EQ(s.best, 1);
  EXPECT_EQ(s.runs, 4u);
  EXPECT_DOUBLE_EQ(spread_of({5, 1, 2, 4, 3}).low, 2);
}

TEST(Spread, OfOneValueAndOfNone) {
  const Spread one = spread_of({7});
  EXPECT_EQ(one.median, 7);
  EXPECT_EQ(one.low, 7);
  EXPECT_EQ(one.high, 7);
  EXPECT_EQ(spread_of({}).runs, 0u);
  EXPECT_EQ(spread_of({}).median, 0);
}

// Costs, against counts by hand.

Tensor shaped(const Shape& shape, DType dtype = DType::f32) {
  static std::byte somewhere;  // never read
  return {&somewhere, dtype, shape};
}

TEST(Cost, OfProducts) {
  const Cost c = cost_of(Gemm{.a = shaped({3, 5}), .b = shaped({7, 5}), .out = shaped({3, 7}), .trans_b = true});
  EXPECT_EQ(c.bound, Bound::compute);
  EXPECT_EQ(c.flops, 2 * 3 * 7 * 5);
  EXPECT_EQ(c.bytes, 4 * (3 * 5 + 7 * 5 + 3 * 7));
  const Cost dw = cost_of(
      Gemm{.a = shaped({5, 3}), .b = shaped({5, 7}), .out = shaped({3, 7}), .trans_a = true, .accumulate = true});
  EXPECT_EQ(dw.flops, c.flops);
  EXPECT_EQ(dw.bytes, 4 * (3 * 5 + 7 * 5 + 2 * 3 * 7));
}

TEST(Cost, OfAttentionCountsTheCausalHalf) {
  // 2 sequences of 3 tokens, 2 heads of 4: each head has 1 + 2 + 3 pairs, each pair 4 multiply-adds a product.
  const double product = 2.0 * 2 * 2 * (1 + 2 + 3) * 4;
  const Shape out = {2, 3, 8}, qkv = {2, 3, 24}, lse = {2, 2, 3};
  EXPECT_EQ(cost_of(Attention{.qkv = shaped(qkv), .out = shaped(out), .lse = shaped(lse), .heads = 2}).flops,
            2 * product);
  EXPECT_EQ(cost_of(AttentionBackward{.dqkv = shaped(qkv),
                                      .dout = shaped(out),
                                      .qkv = shaped(qkv),
                                      .out = shaped(out),
                                      .lse = shaped(lse),
                                      .delta = shaped(lse),
                                      .heads = 2})
                .flops,
            5 * product);
}

TEST(Cost, OfTheClassifierLeavesThePaddingOut) {
  Classifier a = {.x = shaped({6, 8}),
                  .weight = shaped({128, 8}),
                  .targets = shaped({6}, DType::i32),
                  .losses = shaped({6}),
                  .logits = shaped({2, 128}),
                  .vocab = 100};
  EXPECT_EQ(cost_of(a).flops, 2 * 6 * 100 * 8);
  EXPECT_EQ(cost_of(a).bytes, 4 * (6 * 8 + 128 * 8 + 6 + 6));  // the logits are scratch
  a.dx = shaped({6, 8});
  a.dweight = shaped({128, 8});
  EXPECT_EQ(cost_of(a).flops, 6 * 6 * 100 * 8);
}

TEST(Cost, OfMemoryBoundOperations) {
  const Tensor x = shaped({10, 10});
  const auto bytes = [](const Call& call) {
    const Cost c = cost_of(call);
    EXPECT_EQ(c.bound, Bound::memory);
    EXPECT_EQ(c.flops, 0);
    EXPECT_EQ(c.amount(), c.bytes);
    return c.bytes;
  };
  EXPECT_EQ(bytes(AdamW{.param = x, .grad = x, .m = x, .v = x}), 28 * 100);
  EXPECT_EQ(bytes(Sgd{.param = x, .grad = x, .m = x}), 20 * 100);
  EXPECT_EQ(bytes(Gelu{.out = x, .in = x}), 8 * 100);
  EXPECT_EQ(bytes(Copy{.out = x, .in = x}), 8 * 100);
  EXPECT_EQ(bytes(Fill{.out = x}), 4 * 100);
  EXPECT_EQ(bytes(SumSquares{.in = x}), 4 * 100);
  EXPECT_EQ(bytes(AllFinite{.in = x}), 4 * 100);
  const Tensor row = shaped({10});
  EXPECT_EQ(bytes(AddLayerNorm{
                .in = x, .residual = x, .weight = row, .bias = row, .sum = x, .out = x, .mean = row, .rstd = row}),
            4 * (4 * 100 + 4 * 10));
  EXPECT_EQ(bytes(AddLayerNorm{.residual = x, .weight = row, .bias = row, .out = x, .mean = row, .rstd = row}),
            4 * (2 * 100 + 4 * 10));
  // Of the embedding only the rows that the tokens pick, of the positions only those in use.
  EXPECT_EQ(bytes(Embed{.out = shaped({2, 3, 8}),
                        .tokens = shaped({2, 3}, DType::i32),
                        .wte = shaped({1000, 8}),
                        .wpe = shaped({64, 8})}),
            4 * (6 * 8 + 6 + 6 * 8 + 3 * 8));
}

TEST(Cost, TheFloorIsProductsAndOneOptimizerPass) {
  const Gpt2Config config = config_from_name("char");
  const Peaks peaks = {.flops = 1e9, .memory = {.read = 1e9, .update = 2e9}};
  const auto n = static_cast<double>(config.parameters());
  const Floor floor = floor_of(config, 256, 64, peaks);
  EXPECT_DOUBLE_EQ(floor.flops, 256 * (6 * n + 6.0 * 4 * 128 * 64));
  EXPECT_DOUBLE_EQ(floor.compute, floor.flops / 1e9);
  EXPECT_DOUBLE_EQ(floor.optimizer, 28 * n / 2e9);
  EXPECT_DOUBLE_EQ(floor.seconds(), floor.compute + floor.optimizer);
  EXPECT_EQ(floor_of(config, 256, 64, {}).seconds(), 0);
}

// Cases.

constexpr int64_t kBatch = 2, kTime = 8;
const Workload kSmall = {.model = "char", .batch = kBatch, .seq_len = kTime};

std::map<std::string, int64_t> calls_by_name(const std::vector<OpCase>& cases) {
  std::map<std::string, int64_t> calls;
  for (const OpCase& c : cases) calls[c.name] += c.calls;
  return calls;
}

TEST(Cases, AreThoseOfOneStepByName) {
  ThreadPool pool(1);
  const Gpt2Config config = config_from_name("char");
  const std::vector<OpCase> cases = cases_of(kSmall, pool);
  auto calls = calls_by_name(cases);
  for (const char* name : {"qkv", "att_proj", "fc+gelu", "fc_proj", "qkv dx", "att_proj dx", "fc dx", "fc_proj dx+gelu",
                           "qkv dw", "att_proj dw", "fc dw", "fc_proj dw", "attention", "attention_backward"}) {
    EXPECT_EQ(calls[name], config.layers) << name;
  }
  for (const char* name : {"embed", "embed_backward", "classifier+grad", "sum_squares"}) EXPECT_EQ(calls[name], 1);
  EXPECT_EQ(calls["layernorm"] + calls["add_layernorm"], 2 * config.layers + 1);
  EXPECT_EQ(calls["layernorm_backward"] + calls["add_layernorm_backward"], 2 * config.layers + 1);
  EXPECT_EQ(calls["adamw"], 2 + 12 * config.layers + 2);  // parameters
  // What a step does without is there too.
  for (const char* name : {"logits", "classifier", "sgd", "copy", "all_finite", "qkv dw+="}) {
    ASSERT_TRUE(calls.contains(name)) << name;
    EXPECT_EQ(calls[name], 0) << name;
  }
  const std::vector<std::string_view> known = op_names();
  for (const std::string_view op : known) {
    if (op == "cached_attention" || op == "cast") continue;  // no part of training in f32
    EXPECT_TRUE(std::any_of(cases.begin(), cases.end(), [&](const OpCase& c) { return c.op == op; })) << op;
  }
}

TEST(Cases, OfOneStepAddUpToSixFlopsAWeightAndToken) {
  ThreadPool pool(1);
  const Gpt2Config config = config_from_name("char");
  double flops = 0, optimizer = 0;
  for (const OpCase& c : cases_of(kSmall, pool)) {
    const bool product = c.op == "gemm" || c.op == "classifier";
    if (product) flops += c.cost.flops * static_cast<double>(c.calls);
    if (c.op == "adamw") optimizer += c.cost.bytes * static_cast<double>(c.calls);
    EXPECT_EQ(c.dtype, "f32") << c.name;
  }
  const int64_t C = config.channels, weights = config.layers * 12 * C * C + config.vocab * C;
  EXPECT_EQ(flops, 6.0 * static_cast<double>(kBatch * kTime * weights));
  const int64_t padding = (config.padded_vocab() - config.vocab) * C;
  EXPECT_EQ(optimizer, 28.0 * static_cast<double>(config.parameters() + padding));
}

TEST(Cases, ShapesAreWritten) {
  ThreadPool pool(1);
  std::map<std::string, std::string> shapes;
  for (const OpCase& c : cases_of(kSmall, pool)) shapes[c.name] = c.shape;
  EXPECT_EQ(shapes["qkv"], "16x384x128");
  EXPECT_EQ(shapes["qkv dw"], "384x128x16");
  EXPECT_EQ(shapes["attention"], "2x8, 4 heads of 32");
  EXPECT_EQ(shapes["classifier"], "16x65x128");
  EXPECT_EQ(shapes["gelu"], "16x512");
}

TEST(Cases, WorkloadsThatFitNoModelAreBadUsage) {
  ThreadPool pool(1);
  expect_holds(usage_error_of([&] { cases_of({.model = "gtp2"}, pool); }), {"gtp2", "gpt2"});
  expect_holds(usage_error_of([&] { cases_of({.model = "char", .seq_len = 65}, pool); }), {"--seq-len 65", "64"});
  expect_holds(usage_error_of([&] { cases_of({.model = "char", .seq_len = -1}, pool); }), {"--seq-len -1"});
  expect_holds(usage_error_of([&] { cases_of({.model = "char", .batch = 0}, pool); }), {"--batch 0"});
  Workload whole = {.model = "char", .seq_len = 0};
  resolve(whole);
  EXPECT_EQ(whole.seq_len, 64);
}

// ink bench ops.

TEST(BenchOps, TimesTheChosenOperationsOnEveryDevice) {
  ThreadPool pool(2);
  std::vector<std::string> notes;
  const OpsReport report = bench_ops(
      {.workload = kSmall, .devices = {"cpu", "ref"}, .ops = {"gelu", "attention", "embed"}, .repeat = 2, .seconds = 1},
      pool, [&](const std::string& line) { notes.push_back(line); });
  ASSERT_EQ(report.ops.size(), 3u);
  for (const OpResult& r : report.ops) {
    ASSERT_EQ(r.timings.size(), 2u);
    EXPECT_EQ(r.timings[0].device, "cpu");
    EXPECT_EQ(r.timings[1].device, "ref");
    for (const OpTiming& t : r.timings) {
      EXPECT_GT(t.seconds.median, 0) << r.what.name;
      EXPECT_EQ(t.seconds.runs, 2u);
    }
  }
  EXPECT_EQ(notes.size(), 6u);
}

TEST(BenchOps, EveryCaseRunsOnEveryDevice) {
  ThreadPool pool(2);
  const OpsReport report = bench_ops({.workload = kSmall, .devices = {"ref", "cpu"}, .repeat = 1, .seconds = 0}, pool,
                                     [](const std::string&) {});
  EXPECT_EQ(report.ops.size(), cases_of(kSmall, pool).size());
  // Without time to spare everything runs once.
  for (const OpResult& r : report.ops) {
    for (const OpTiming& t : r.timings) EXPECT_EQ(t.seconds.runs, 1u) << r.what.name;
  }
}

TEST(BenchOps, UnknownNamesAreBadUsage) {
  ThreadPool pool(1);
  const auto run_with = [&](const OpsOptions& o) {
    return usage_error_of([&] { bench_ops(o, pool, [](const std::string&) {}); });
  };
  expect_holds(run_with({.workload = kSmall, .devices = {"cpu"}, .ops = {"gem"}}), {"'gem'", "'gemm'", "attention"});
  expect_holds(run_with({.workload = kSmall, .devices = {"cpv"}}), {"'cpv'", "'cpu'"});
}

TEST(BenchOps, ProductsCanBeOfBf16) {
  ThreadPool pool(1);
  Workload bf16 = kSmall;
  bf16.products = DType::bf16;
  const OpsReport report =
      bench_ops({.workload = bf16, .ops = {"gemm", "classifier", "gelu"}, .repeat = 1, .seconds = 0}, pool,
                [](const std::string&) {});
  for (const OpResult& r : report.ops) EXPECT_EQ(r.what.dtype, r.what.op == "gelu" ? "f32" : "bf16") << r.what.name;
  const TrainReport train = bench_train({.workload = bf16, .steps = 1, .warmup = 0}, pool);
  for (const OpShare& op : train.ops) EXPECT_EQ(op.dtype == "bf16", op.op == "gemm" || op.op == "classifier");
}

// TimedOps.

TEST(TimedOps, GivesTheSameBitsAsWhatItWraps) {
  ThreadPool pool(2);
  const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
  TimedOps timed(*ops);
  const int64_t b = 2, t = 8;
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const auto step = [&](Ops& device, std::vector<float>& grads) {
    Gpt2 model(kTiny, {.batch = b, .context = t, .training = true}, device);
    model.allocate();
    randomize(model, 3);
    const float loss = model.loss_and_backward(tokens, tokens, b, t);
    grads = values_of(model, model.all_grads());
    grads.push_back(loss);
    grads.push_back(static_cast<float>(device.sum_squares(model.all_grads())));
    grads.push_back(device.all_finite(model.all_grads()) ? 1.0f : 0.0f);
    if (&device == &timed) timed.end_step(CallNames(model.params()));
  };
  std::vector<float> plain, watched;
  step(*ops, plain);
  step(timed, watched);
  EXPECT_EQ(plain, watched);
  EXPECT_EQ(plain.back(), 1.0f);
  EXPECT_EQ(timed.name(), "cpu");
  EXPECT_EQ(timed.description(), ops->description());
  EXPECT_EQ(timed.memory(), ops->memory());

  EXPECT_EQ(timed.steps(), 1);
  std::map<std::string, int64_t> calls;
  for (const Tally& tally : timed.tallies()) {
    calls[tally.name] += tally.calls;
    ASSERT_EQ(tally.seconds.size(), 1u);
    EXPECT_GE(tally.seconds[0], 0);
  }
  EXPECT_EQ(calls["qkv"], 3);
  EXPECT_EQ(calls["fc_proj dw"], 3);
  EXPECT_EQ(calls["classifier+grad"], 1);
  EXPECT_EQ(calls["sum_squares"], 1);
}

TEST(TimedOps, StepsAreCountedApart) {
  ThreadPool pool(1);
  const std::unique_ptr<Ops> ops = make_ops("ref", pool);
  TimedOps timed(*ops);
  const std::unique_ptr<Buffer> memory = timed.allocate(256);
  const Tensor x(memory->data(), DType::f32, {32}), y(memory->data() + 128, DType::f32, {32});
  const CallNames names({});
  timed.fill(x, 1);
  timed.drop_step();
  timed.fill(x, 2);
  timed.fill(y, 3);
  timed.end_step(names);
  EXPECT_EQ(timed.sum_squares(x), 32 * 4);
  timed.copy(y, x);
  timed.gelu({.out = y, .in = x});
  timed.end_step(names);
  EXPECT_EQ(timed.steps(), 2);
  ASSERT_EQ(timed.tallies().size(), 4u);
  EXPECT_EQ(timed.tallies()[0].name, "fill");
  EXPECT_EQ(timed.tallies()[0].calls, 2);
  ASSERT_EQ(timed.tallies()[0].seconds.size(), 2u);
  EXPECT_EQ(timed.tallies()[0].seconds[1], 0);  // no fill in the second step
  EXPECT_EQ(timed.tallies()[3].name, "gelu");
  EXPECT_EQ(timed.tallies()[3].seconds[0], 0);
}

// ink bench train, and both forms of a report.

Report small_report() {
  ThreadPool pool(2);
  Report report;
  report.train = bench_train({.workload = kSmall, .steps = 3, .warmup = 1, .scaling = true}, pool);
  report.ops =
      bench_ops({.workload = kSmall, .devices = {"cpu", "ref"}, .ops = {"gemm", "adamw"}, .repeat = 1, .seconds = 0},
                pool, [](const std::string&) {});
  report.machine = describe_machine("1.2.3", {"cpu", "ref"}, pool);
  add_floor(report);
  return report;
}

TEST(BenchTrain, CountsStepsMemoryAndOperations) {
  ThreadPool pool(1);
  const TrainReport r = bench_train({.workload = kSmall, .device = "ref", .steps = 2, .warmup = 1}, pool);
  EXPECT_EQ(r.step_seconds.size(), 2u);
  EXPECT_EQ(r.seconds.runs, 2u);
  EXPECT_GT(r.tokens_per_second, 0);
  EXPECT_GT(r.planned_bytes, size_t{16} * 800'000);  // weights, gradients and two moments of 0.8M parameters
  EXPECT_GT(r.peak_bytes, r.planned_bytes);
  EXPECT_LT(r.peak_bytes, physical_memory());
  EXPECT_TRUE(r.scaling.empty());
  EXPECT_EQ(r.recompute, "none");
  double seconds = r.other_seconds;
  std::map<std::string, double> calls;
  for (const OpShare& op : r.ops) {
    seconds += op.seconds;
    calls[op.name] += op.calls;
  }
  EXPECT_NEAR(seconds, r.seconds.median, 1e-9);
  EXPECT_EQ(calls["qkv"], 4);
  EXPECT_EQ(calls["adamw"], 52);
  EXPECT_TRUE(std::is_sorted(r.ops.begin(), r.ops.end(),
                             [](const OpShare& a, const OpShare& b) { return a.seconds > b.seconds; }));
}

TEST(BenchTrain, TheBetterPeakCounts) {
  Report report;
  report.train = TrainReport{.workload = kSmall};
  report.train->peak_flops = 3e9;
  report.machine.peaks.flops = 2e9;
  add_floor(report);
  EXPECT_EQ(report.machine.peaks.flops, 3e9);
  EXPECT_DOUBLE_EQ(report.train->floor.compute, report.train->floor.flops / 3e9);
  report.train->peak_flops = 0;
  add_floor(report);
  EXPECT_EQ(report.machine.peaks.flops, 3e9);
}

TEST(BenchTrain, RecomputationTakesLessMemoryAndMoreCalls) {
  ThreadPool pool(1);
  const TrainBenchOptions plain = {.workload = kSmall, .steps = 1, .warmup = 0};
  TrainBenchOptions again = plain;
  again.recompute = Recompute::block;
  const TrainReport a = bench_train(plain, pool), b = bench_train(again, pool);
  EXPECT_EQ(b.recompute, "block");
  EXPECT_LT(b.planned_bytes, a.planned_bytes);
  const auto qkv = [](const TrainReport& r) {
    double calls = 0;
    for (const OpShare& op : r.ops) calls += op.name == "qkv" ? op.calls : 0;
    return calls;
  };
  EXPECT_GT(qkv(b), qkv(a));
}

TEST(BenchTrain, BadOptionsAreBadUsage) {
  ThreadPool pool(1);
  expect_holds(usage_error_of([&] { bench_train({.workload = kSmall, .device = "cpuu"}, pool); }), {"'cpuu'"});
  expect_holds(usage_error_of([&] { bench_train({.workload = kSmall, .steps = 0}, pool); }), {"--steps 0"});
  TrainBenchOptions unknown;
  unknown.workload.model = "none";
  expect_holds(usage_error_of([&] { bench_train(unknown, pool); }), {"'none'"});
}

TEST(Report, JsonHoldsEverything) {
  const Report report = small_report();
  const nlohmann::json json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["machine"]["version"], "1.2.3");
  EXPECT_EQ(json["machine"]["threads"], 2);
  EXPECT_EQ(json["machine"]["devices"][1]["name"], "ref");
  EXPECT_GT(json["machine"]["peak_flops_per_s"], 0);
  EXPECT_GT(json["machine"]["peak_update_bytes_per_s"], 0);

  const auto& ops = json["ops"];
  EXPECT_EQ(ops["model"], "char");
  EXPECT_EQ(ops["dtype"], "f32");
  ASSERT_EQ(ops["cases"].size(), report.ops->ops.size());
  for (const auto& c : ops["cases"]) {
    EXPECT_EQ(c["bound"], c["op"] == "gemm" ? "compute" : "memory");
    for (const char* field : {"name", "shape", "dtype", "calls_per_step", "flops", "bytes"}) {
      EXPECT_TRUE(c.contains(field)) << field;
    }
    const auto& cpu = c["devices"]["cpu"];
    for (const char* field : {"median_s", "q1_s", "q3_s", "best_s", "runs", "share_of_peak", "speedup_over_ref"}) {
      EXPECT_TRUE(cpu.contains(field)) << field;
    }
    EXPECT_TRUE(cpu.contains(c["op"] == "gemm" ? "flops_per_s" : "bytes_per_s"));
    EXPECT_EQ(c["devices"]["ref"]["speedup_over_ref"], 1);
  }

  const auto& train = json["train"];
  for (const char* field : {"model", "batch", "seq_len", "dtype", "recompute", "device", "threads", "tokens_per_s",
                            "flops_per_step", "floor_s", "share_of_floor", "planned_bytes", "peak_bytes"}) {
    EXPECT_TRUE(train.contains(field)) << field;
  }
  EXPECT_EQ(train["config"]["channels"], 128);
  EXPECT_EQ(train["config"]["parameters"], config_from_name("char").parameters());
  EXPECT_EQ(train["step_seconds"].size(), 3u);
  EXPECT_EQ(train["step"]["runs"], 3);
  EXPECT_GT(train["share_of_floor"], 0);
  EXPECT_EQ(train["ops"].size(), report.train->ops.size());
  ASSERT_EQ(train["scaling"].size(), 2u);
  EXPECT_EQ(train["scaling"][0]["threads"], 1);
  EXPECT_EQ(train["scaling"][0]["speedup"], 1);
  EXPECT_EQ(train["scaling"][1]["threads"], 2);
}

TEST(Report, MarkdownNamesWhatWasMeasured) {
  const std::string text = to_markdown(small_report());
  expect_holds(text, {"GFLOP/s", "GB/s", "| qkv dw ", "adamw", "over ref", "share of the floor", "memory, planned",
                      "between operations", "speed-up", "char, B=2 T=8, f32"});
}

TEST(Report, TablesLineUp) {
  EXPECT_EQ(markdown_table({"name", "n"}, {{"µs", "1"}, {"longer", "23"}}),
            "| name   |   n |\n"
            "|--------|----:|\n"
            "| µs     |   1 |\n"
            "| longer |  23 |\n");
}

// Instruction sets.

TEST(InstructionSets, CanBeLimited) {
  const std::vector<std::string> sets = instruction_sets();
  ASSERT_FALSE(sets.empty());
  ThreadPool pool(1);
  const auto in_use = [&] {
    std::string line = make_ops("cpu", pool)->description();
    std::transform(line.begin(), line.end(), line.begin(), [](unsigned char c) { return std::tolower(c); });
    return line.substr(0, line.find(','));
  };
  EXPECT_EQ(in_use(), sets.front());
  for (const std::string& name : sets) {
    limit_instruction_set(name);
    EXPECT_EQ(in_use(), name);
    EXPECT_EQ(instruction_sets(), sets);
  }
  limit_instruction_set(sets.front());
  EXPECT_EQ(in_use(), sets.front());
  expect_holds(usage_error_of([] { limit_instruction_set("avx99"); }), {"'avx99'", sets.back()});
}

}  // namespace
}  // namespace ink::bench
