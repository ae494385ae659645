// ink train: options in, a run folder out.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <type_traits>

#include "cli/commands.h"
#include "cli/option_file.h"
#include "cli/options.h"
#include "cli/stop_signals.h"
#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/serve/dashboard.h"
#include "ink/serve/http_server.h"
#include "ink/serve/page.h"
#include "ink/serve/status.h"
#include "ink/tensor/plan.h"
#include "ink/train/trainer.h"

namespace ink {

namespace {

struct TrainCommand {
  TrainOptions train;
  DeviceOptions device;
  std::string recompute = "none";
  std::string config;
  std::optional<int> dashboard;  // a port
};

// The page with the run's charts, for as long as it trains. It reads what the run writes: nothing of it is shared.
struct DashboardServer {
  DashboardServer(const fs::path& run, int port) : dashboard({run}, false), server({.port = port}) {
    dashboard.add_routes(server);
    add_page(server);
    add_status_routes(server);
    server.start();
  }
  Dashboard dashboard;
  HttpServer server;
};

template <class T>
CLI::Option* add(CLI::App& command, const std::string& name, T& value, const std::string& text) {
  CLI::Option* option = command.add_option(name, value, text)->capture_default_str()->take_last();
  if constexpr (!std::is_same_v<T, std::string> && !std::is_same_v<T, std::filesystem::path>) {
    require_number<T>(option);
  }
  return option;
}

void add_data_and_model_options(CLI::App& c, TrainOptions& o) {
  c.add_option("--data", o.data, "Text to train on: files and folders")->group("Data");
  add(c, "--train-data", o.train_shards, "Token shards to train on, a path or glob (-i)")->group("Data");
  add(c, "--val-data", o.val_shards, "Token shards to validate on (-j)")->group("Data");
  add(c, "--tokenizer", o.tokenizer, "gpt2, char, byte or a folder with tokenizer.json")->group("Data");
  add(c, "--val-fraction", o.val_fraction, "Part of the --data text, at its end, kept for validation")->group("Data");
  std::string names;
  for (const Preset& preset : presets()) names += (names.empty() ? "" : ", ") + std::string(preset.name);
  add(c, "--model", o.model,
      "A size (" + names + ", or llm.c's d12), a model folder, a run folder or an llm.c .bin file to start from (-e)")
      ->group("Model");
  add(c, "--layers", o.layers, "Transformer blocks")->group("Model");
  add(c, "--heads", o.heads, "Attention heads; they divide the channels")->group("Model");
  add(c, "--channels", o.channels, "Width of the residual stream")->group("Model");
  add(c, "--context", o.context, "Longest sequence, in tokens")->group("Model");
  add(c, "--vocab", o.vocab, "Vocabulary; by default the tokenizer's")->group("Model");
}

void add_optimization_options(CLI::App& c, TrainOptions& o, std::string& recompute) {
  OptimizerOptions& opt = o.optimizer_options;
  const std::string b = "Batch";
  add(c, "--batch", o.batch, "Sequences in one forward pass (-b)")->group(b);
  add(c, "--seq-len", o.seq_len, "Tokens in a sequence; 0: the model's context (-t)")->group(b);
  add(c, "--total-batch", o.total_batch, "Tokens in one step, by gradient accumulation; 0: batch x seq-len (-d)")
      ->group(b);
  add(c, "--steps", o.steps, "Optimization steps; -1: one epoch (-x)")->group(b);
  add(c, "--order", o.order,
      "batches: llm.c's shuffle; sequences: every sequence shuffled on its own, the default for --data; sequential")
      ->group(b);
  c.add_flag("--overfit", o.overfit, "Train on the first validation batch only, for debugging (-a 1)")->group(b);
  add(c, "--recompute", recompute,
      "What the backward pass computes again to save memory: none, or block, for about 30% more time (-r)")
      ->check(CLI::IsMember({"none", "block", "0", "1", "2"}))
      ->group(b);
  const std::string g = "Optimization";
  add(c, "--optimizer", o.optimizer, "adamw or sgd")->group(g);
  add(c, "--beta1", opt.beta1, "AdamW: decay of the first moment")->group(g);
  add(c, "--beta2", opt.beta2, "AdamW: decay of the second moment")->group(g);
  add(c, "--epsilon", opt.epsilon, "AdamW: added to the denominator")->group(g);
  add(c, "--momentum", opt.momentum, "SGD: momentum")->group(g);
  add(c, "--weight-decay", opt.weight_decay, "Decay of matrices (-c)")->group(g);
  add(c, "--schedule", o.schedule, "Learning rate: cosine, linear, constant or wsd (-k)")->group(g);
  add(c, "--lr", o.lr, "Highest learning rate (-l)")->group(g);
  add(c, "--warmup", o.warmup, "Steps of linear warmup (-u)")->group(g);
  add(c, "--final-lr-frac", o.final_lr_fraction, "Part of lr that the schedule ends at (-q)")->group(g);
  add(c, "--clip", o.clip, "Largest global gradient norm; 0: no clipping")->group(g);
  add(c, "--skip-loss-z", o.skip_loss_z, "Skip updates whose loss has a z-score above this; 0: never (-sl)")->group(g);
  add(c, "--skip-grad-z", o.skip_grad_z, "The same for the gradient norm (-sg)")->group(g);
  add(c, "--seed", o.seed, "Of initialisation, shuffling and samples")->group(g);
  c.add_flag("--stochastic-rounding", o.stochastic_rounding,
             "On GPUs with --dtype bf16: round weights up or down at random instead of to the nearest")
      ->group(g);
}

void add_output_options(CLI::App& c, TrainOptions& o, std::optional<int>& dashboard) {
  const std::string e = "Evaluation";
  add(c, "--val-every", o.val_every, "Steps between validations; 0: never (-v)")->group(e);
  add(c, "--val-batches", o.val_batches, "Batches of one validation; -1: all (-m)")->group(e);
  add(c, "--sample-every", o.sample_every, "Steps between samples; 0: never (-s)")->group(e);
  add(c, "--sample-tokens", o.sample_tokens, "Length of a sample (-g)")->group(e);
  add_sampler_options(c, o.sampler);
  const std::string s = "Output";
  add(c, "--out", o.out, "Run folder for checkpoints, logs and data; \"\": none (-o)")->group(s);
  add(c, "--checkpoint-every", o.checkpoint_every, "Steps between checkpoints, and one at the end; 0: never (-n)")
      ->group(s);
  add(c, "--keep", o.keep, "Checkpoints to keep; 0: all (-nk)")->group(s);
  add(c, "--major-every", o.major_every, "Checkpoints at multiples of this are always kept; 0: none (-nm)")->group(s);
  c.add_flag("--resume", o.resume, "Go on from the newest checkpoint in --out, with that run's options (-y 1)")
      ->group(s);
  c.add_flag("--overwrite", o.overwrite, "Replace the run that --out holds (-y 0)")->group(s);
  add(c, "--log-every", o.log_every, "Steps between lines when the output is not a terminal")->group(s);
  require_number<int>(
      c.add_option("--dashboard", dashboard,
                   "Show the run's charts in a browser, on this port of 127.0.0.1; 0: any that is free"))
      ->check(CLI::Range(0, 65535))
      ->group(s);
  c.add_flag("--dry-run", o.dry_run, "Print the memory plan and stop")->group(s);
}

// llm.c's 1 and 2 are GELU and layer norms, which are always computed again.
Recompute parse_recompute(const std::string& text) { return text == "block" ? Recompute::block : Recompute::none; }

// The options that belong to another optimizer than the chosen one.
std::vector<std::string> options_of_other_optimizers(const std::string& optimizer) {
  if (optimizer == "sgd") return {"beta1", "beta2", "epsilon"};
  return {"momentum"};
}

void require_matching_optimizer(const CLI::App& command, const std::string& optimizer) {
  for (const std::string& name : options_of_other_optimizers(optimizer)) {
    if (command.count("--" + name) > 0) {
      throw UsageError(fmt::format("--{} is not an option of --optimizer {}", name, optimizer));
    }
  }
}

// The options as an option file: what --resume reads.
// device: what was chosen where that was left to a measurement, so that a run goes on with the same.
std::string to_toml(const CLI::App& command, const std::string& optimizer, const std::string& device) {
  std::vector<std::string> left_out = {"help",    "config",    "resume",  "overwrite",
                                       "dry-run", "dashboard", "threads", "isa"};
  for (std::string& name : options_of_other_optimizers(optimizer)) left_out.push_back(std::move(name));
  std::string text = "# The options of this run, as `ink train --config` reads them.\n";
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_lnames().front();
    if (std::find(left_out.begin(), left_out.end(), name) != left_out.end()) continue;
    std::vector<std::string> values;
    if (option->count() > 0) {
      values = option->reduced_results();
    } else if (!option->get_default_str().empty()) {
      values = {option->get_default_str()};
    }
    if (values.empty()) continue;
    if (name == "device" && values.front() == "auto") values = {device};
    const bool is_text = option->get_type_name().starts_with("TEXT");
    std::string list;
    for (const std::string& value : values) list += (list.empty() ? "" : ", ") + option_file_value(value, is_text);
    text += fmt::format("{} = {}\n", name, values.size() > 1 ? "[" + list + "]" : list);
  }
  return text;
}

// runs/NAME for text called NAME.txt or a folder NAME; runs/train for shards.
fs::path default_out(const TrainOptions& o) {
  if (o.data.empty()) return "runs/train";
  const fs::path data = fs::absolute(o.data.front()).lexically_normal();
  const fs::path name = data.filename().empty() ? data.parent_path().stem() : data.stem();
  return fs::path("runs") / (name.empty() ? fs::path("train") : name);
}

void run_train(const CLI::App& command, TrainCommand& t) {
  require_matching_optimizer(command, t.train.optimizer);
  t.train.recompute = parse_recompute(t.recompute);
  if (command.count("--out") == 0) t.train.out = default_out(t.train);

  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away must not cost the run
  StopSignals stop;
  std::unique_ptr<DashboardServer> dashboard;  // before the device, whose pool keeps this thread to one processor
  if (t.dashboard && !t.train.dry_run) {
    if (t.train.out.empty()) throw UsageError("--dashboard shows the run folder, and --out \"\" has none");
    dashboard = std::make_unique<DashboardServer>(t.train.out, *t.dashboard);
  }
  Device device(t.device);
  t.train.saved_options = to_toml(command, t.train.optimizer, device.ops->name());
  Progress progress(stdout, isatty(STDOUT_FILENO) != 0, t.train.log_every);
  Trainer trainer(t.train, *device.ops, device.pool, [&](const std::string& line) { progress.note(line); });
  const Gpt2& model = trainer.model();
  if (t.train.dry_run) {
    // The program, its libraries and the tokenizer, which are there by now, and what samples are made in.
    const size_t program = peak_memory() + trainer.sampling_bytes(), needed = model.plan().bytes() + program;
    fmt::print("{}", model.plan().report(program));
    check(needed <= device.ops->memory(), "the run needs {}, the machine has {}", human_bytes(needed),
          human_bytes(device.ops->memory()));
    return;
  }
  const Gpt2Config& c = model.config();
  progress.note(fmt::format("{}", device.ops->description()));
  progress.note(
      fmt::format("{:.1f}M parameters: {} layers, {} heads, {} channels, context {}, vocabulary {}; {} of memory",
                  static_cast<double>(c.parameters()) / 1e6, c.layers, c.heads, c.channels, c.context, c.vocab,
                  human_bytes(model.plan().bytes())));
  progress.note(fmt::format("{} steps of {} x {} x {} tokens{}", trainer.steps(), trainer.accumulation(),
                            model.options().batch, model.options().context,
                            t.train.out.empty() ? "" : fmt::format(", into {}", t.train.out.string())));
  if (dashboard != nullptr) progress.note(fmt::format("charts on {}", dashboard->server.url()));
  stop.start();
  trainer.run(stop.requested(), progress);
}

}  // namespace

void add_train_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("train", "Train or fine-tune a GPT-2");
  const auto t = std::make_shared<TrainCommand>();
  command.add_option("--config", t->config, "A TOML file of these options; those given here override it");
  add_data_and_model_options(command, t->train);
  add_optimization_options(command, t->train, t->recompute);
  add_output_options(command, t->train, t->dashboard);
  add_device_options(command, t->device);
  command.footer(
      "Flags in brackets are llm.c's: an llm.c command line works as it is. Without --out the run goes to runs/NAME,\n"
      "NAME being the data's.");
  command.callback([&command, t] { run_train(command, *t); });
}

}  // namespace ink
