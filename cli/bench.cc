// ink bench: how fast this machine computes a step of training, and how fast it could.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "ink/base/file.h"
#include "ink/bench/bench_infer.h"
#include "ink/bench/bench_ops.h"
#include "ink/bench/bench_train.h"
#include "ink/bench/machine.h"
#include "ink/train/convert.h"

namespace ink {

namespace {

struct BenchCommand {
  bench::OpsOptions ops;
  bench::TrainBenchOptions train;
  bench::Workload workload;
  std::string recompute = "none";
  DeviceOptions device;
  std::string json;
};

void add_common_options(CLI::App& command, BenchCommand& b) {
  command.add_option("--model", b.workload.model, "A size, as `ink info` lists them")->capture_default_str();
  require_number<int64_t>(command.add_option("--batch", b.workload.batch, "Sequences in one forward pass"))
      ->capture_default_str();
  require_number<int64_t>(command.add_option("--seq-len", b.workload.seq_len, "Tokens in a sequence; 0: the context"))
      ->capture_default_str();
  command.add_option("--json", b.json, "Write all figures to this file too; -: to standard output instead of tables");
}

void add_ops_options(CLI::App& command, BenchCommand& b) {
  b.ops.devices = {b.device.device};
  command.add_option("--device", b.ops.devices, "Devices to compare, as cpu,ref: see `ink info`")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--ops", b.ops.ops, "Operations, as gemm,attention; by default all")->delimiter(',');
  require_number<int64_t>(command.add_option("--repeat", b.ops.repeat, "Timed runs of a case, at most"))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  require_number<double>(
      command.add_option("--seconds", b.ops.seconds, "Time for a case, about; what takes longer runs once"))
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
}

void add_train_options(CLI::App& command, BenchCommand& b) {
  command.add_option("--recompute", b.recompute, "As in ink train: none or block")
      ->check(CLI::IsMember({"none", "block"}))
      ->capture_default_str();
  require_number<int64_t>(command.add_option("--steps", b.train.steps, "Steps that count, after two that do not"))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command.add_flag("--scaling", b.train.scaling, "Also with one thread, two, and so on");
}

void note(const std::string& line) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "{}\n", line);
}

void run_infer(bench::InferBenchOptions options, const std::vector<std::string>& types, const DeviceOptions& device,
               const std::string& json) {
  std::optional<AtomicFile> json_file;
  if (!json.empty() && json != "-") json_file.emplace(json);
  options.device = device.device;
  options.types.clear();
  for (const std::string& type : types) {
    if (type != "own") options.types.push_back(dtype_from_name(type));
  }
  ThreadPool pool(apply_thread_options(device), ThreadPool::Pin::yes);
  bench::Report report;
  report.infer = bench_infer(options, pool, note);
  note("peaks of the machine");
  report.machine = bench::describe_machine(INK_VERSION, {device.device}, pool);
  fmt::print("{}", json == "-" ? to_json(report) : to_markdown(report));
  if (json_file) {
    json_file->write(to_json(report));
    json_file->commit();
  }
}

void add_infer_command(CLI::App& command) {
  struct InferCommand {
    bench::InferBenchOptions options;
    std::vector<std::string> types = {"f32", "f16", "q8_0", "q4_0"};
    DeviceOptions device;
    std::string json;
  };
  CLI::App& infer = *command.add_subcommand("infer", "Prompts and single tokens, on weights of several types");
  const auto i = std::make_shared<InferCommand>();
  infer.add_option("--model", i->options.model, "A size, with random weights, or a model's file or folder")
      ->capture_default_str();
  infer.add_option("--types", i->types, "Types of weights, as f32,q8_0; own: a file's as it is")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0", "own"}))
      ->capture_default_str();
  const auto count = [&](const char* name, int64_t& value, const char* text) {
    require_number<int64_t>(infer.add_option(name, value, text))
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
        ->capture_default_str();
  };
  count("--prompt", i->options.prompt, "Tokens of a prompt");
  count("--decode", i->options.decode, "Tokens that are then decoded, in an empty context");
  count("--sequences", i->options.sequences, "Sequences that are decoded together");
  count("--rounds", i->options.rounds, "Times that everything is measured, the types in turn");
  infer.add_option("--data", i->options.data, "A text file to compare the types' perplexities on");
  count("--tokens", i->options.tokens, "Tokens of it, at most");
  infer.add_option("--json", i->json, "Write all figures to this file too; -: to standard output instead of tables");
  infer.add_option("--device", i->device.device, "Where to compute: see `ink info`")->capture_default_str();
  add_thread_options(infer, i->device);
  infer.callback([i] { run_infer(i->options, i->types, i->device, i->json); });
}

// The training goes first, as its peak of memory is the process's. The peaks of the machine follow at once: others may
// be using it too, a minute later.
void run_bench(const BenchCommand& b, bool ops, bool train) {
  std::optional<AtomicFile> json_file;  // before all measuring: a path that cannot be written is known at once
  if (!b.json.empty() && b.json != "-") json_file.emplace(b.json);
  ThreadPool pool(apply_thread_options(b.device), ThreadPool::Pin::yes);
  bench::Report report;
  bench::OpsOptions ops_options = b.ops;
  bench::TrainBenchOptions train_options = b.train;
  ops_options.workload = train_options.workload = b.workload;
  ops_options.workload.products = train_options.workload.products = products_of(b.device);
  if (!ops) ops_options.devices = {b.device.device};
  train_options.device = ops_options.devices.front();
  train_options.recompute = b.recompute == "block" ? Recompute::block : Recompute::none;
  ops_options.validate();
  if (train) {
    note("training");
    report.train = bench_train(train_options, pool);
  }
  note("peaks of the machine");
  report.machine = bench::describe_machine(INK_VERSION, ops_options.devices, pool, products_of(b.device));
  if (report.train) add_floor(report);
  if (ops) report.ops = bench_ops(ops_options, pool, note);
  fmt::print("{}", b.json == "-" ? to_json(report) : to_markdown(report));
  if (json_file) {
    json_file->write(to_json(report));
    json_file->commit();
  }
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("bench", "Measure the speed of operations, training and inference");
  command.require_subcommand(1);

  CLI::App& ops = *command.add_subcommand("ops", "Every operation of a training step, on its own");
  const auto o = std::make_shared<BenchCommand>();
  add_common_options(ops, *o);
  add_ops_options(ops, *o);
  add_dtype_option(ops, o->device);
  add_thread_options(ops, o->device);
  ops.callback([o] { run_bench(*o, true, false); });

  CLI::App& train = *command.add_subcommand("train", "Training steps on random weights and tokens, and their parts");
  const auto t = std::make_shared<BenchCommand>();
  add_common_options(train, *t);
  add_train_options(train, *t);
  add_device_options(train, t->device);
  train.callback([t] { run_bench(*t, false, true); });

  add_infer_command(command);

  CLI::App& all = *command.add_subcommand("all", "Both; the steps run on the first device");
  const auto a = std::make_shared<BenchCommand>();
  add_common_options(all, *a);
  add_ops_options(all, *a);
  add_train_options(all, *a);
  add_dtype_option(all, a->device);
  add_thread_options(all, a->device);
  all.callback([a] { run_bench(*a, true, true); });
}

}  // namespace ink
