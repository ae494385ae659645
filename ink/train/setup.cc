// How a Trainer comes to be: from options to tokenizer, model, data and run folder.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/prepare.h"
#include "ink/format/model_io.h"
#include "ink/infer/model.h"
#include "ink/train/trainer.h"

namespace ink {

namespace {

constexpr std::string_view kDataFolder = "data";

// A preset's name wins over a folder of that name (./NAME is the folder). Names have no slash and no file extension.
bool looks_like_path(const std::string& model) {
  if (std::any_of(presets().begin(), presets().end(), [&](const Preset& p) { return p.name == model; })) return false;
  return model.find('/') != std::string::npos || fs::path(model).extension() == ".bin" || fs::exists(model);
}

// A path as a glob pattern that matches it alone.
std::string glob_escape(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// Tokens of the smallest shard whose name starts with prefix: what bounds a batch.
int64_t smallest_shard(const fs::path& folder, std::string_view prefix) {
  int64_t smallest = std::numeric_limits<int64_t>::max();
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    smallest = std::min(smallest, static_cast<int64_t>(Shard(entry.path()).tokens().size()));
  }
  return smallest;
}

// What the options have come to, for those who read the run folder.
std::string run_json(const Gpt2& model, const Ops& ops, int64_t steps, int64_t tokens_per_step) {
  const Gpt2Config& c = model.config();
  nlohmann::ordered_json memory = nlohmann::ordered_json::array();
  for (const Plan::Arena& arena : model.plan().arenas()) {
    memory.push_back({{"name", arena.name}, {"bytes", arena.bytes}});
  }
  const nlohmann::ordered_json json = {{"steps", steps},
                                       {"tokens_per_step", tokens_per_step},
                                       {"parameters", c.parameters()},
                                       {"layers", c.layers},
                                       {"heads", c.heads},
                                       {"channels", c.channels},
                                       {"context", c.context},
                                       {"vocab", c.vocab},
                                       {"device", ops.description()},
                                       {"memory", memory}};
  return json.dump(2) + "\n";
}

}  // namespace

Trainer::Trainer(TrainOptions options, Ops& ops, ThreadPool& pool, std::function<void(const std::string&)> note)
    : options_(std::move(options)),
      ops_(ops),
      pool_(pool),
      note_(std::move(note)),
      last_validation_loss_(std::numeric_limits<double>::quiet_NaN()) {
  options_.validate();
  optimizer_ = &find_optimizer(options_.optimizer);
  schedule_ = &find_schedule(options_.schedule);
  resolve_sources();
  resolve_tokenizer();
  plan_model();
  if (options_.dry_run) return;
  if (fs::exists(options_.out)) lock_ = std::make_unique<FolderLock>(options_.out);
  model_->allocate();
  prepare_data();
  open_loaders();
  load_or_init();
  prepare_run_folder();  // last: nothing of an earlier run is touched before all else has worked
}

Trainer::~Trainer() = default;

// Where the weights come from: this run's newest checkpoint, a model in a file, or nowhere.
void Trainer::resolve_sources() {
  const std::vector<CheckpointEntry> checkpoints =
      options_.out.empty() ? std::vector<CheckpointEntry>() : list_checkpoints(options_.out);
  const bool holds_a_run = !checkpoints.empty() || fs::exists(options_.out / "main.log");
  if (!options_.out.empty() && holds_a_run && !options_.resume && !options_.overwrite && !options_.dry_run) {
    throw UsageError(
        fmt::format("{} holds a run already: go on with --resume, replace it with --overwrite, or choose "
                    "another folder with --out",
                    options_.out.string()));
  }
  for (std::error_code error; const auto& entry : fs::directory_iterator(options_.out, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step_") || fs::exists(entry.path() / "trainer.json")) continue;
    fail("{}: not a whole checkpoint, its trainer.json is missing; remove it or choose another --out",
         entry.path().string());
  }
  if (options_.resume && checkpoints.empty()) {
    note_(fmt::format("{}: no checkpoint to resume from, starting at step 0", options_.out.string()));
    if (options_.data.empty() && options_.train_shards.empty()) {
      throw UsageError("--resume found no run to go on with, and there is no --data or --train-data to start one");
    }
  }
  if (options_.resume && !checkpoints.empty()) {
    resume_from_ = checkpoints.back().path;
  } else if (!options_.model.empty() && looks_like_path(options_.model)) {
    weights_from_ = resolve_model_path(options_.model);
  } else if (!options_.model.empty()) {
    model_name_ = options_.model;
  } else {
    model_name_ = options_.data.empty() ? "gpt2" : "char";
  }
}

// The run's own tokenizer; else the one asked for; else what lies beside the weights or the shards; else what the
// model's vocabulary suggests.
void Trainer::resolve_tokenizer() {
  if (!resume_from_.empty()) {
    tokenizer_ = find_tokenizer(resume_from_, read_model_config(resume_from_).vocab);
    const std::string& asked = options_.tokenizer;
    if (tokenizer_ != nullptr && !asked.empty() && !fs::is_directory(asked) && asked != tokenizer_->name()) {
      throw UsageError(fmt::format("--tokenizer {} contradicts {}, which has the {} tokenizer", asked,
                                   resume_from_.string(), tokenizer_->name()));
    }
    return;
  }
  if (!options_.tokenizer.empty()) {
    if (!options_.data.empty()) {
      tokenizer_ = tokenizer_for(options_.tokenizer, text_files(options_.data, options_.out / kDataFolder));
    } else if (options_.tokenizer == "char") {
      throw UsageError("--tokenizer char is built from the training text: give --data");
    } else {
      tokenizer_ = open_tokenizer(options_.tokenizer);
    }
    return;
  }
  if (!weights_from_.empty()) {
    tokenizer_ = find_tokenizer(*open_model(weights_from_));
  } else {
    const fs::path beside =
        options_.data.empty() ? fs::path(".") / fs::path(options_.train_shards).parent_path() : fs::path();
    tokenizer_ = find_tokenizer(beside, options_.vocab.value_or(config_from_name(model_name_).vocab));
  }
  if (tokenizer_ == nullptr && !options_.data.empty()) {
    tokenizer_ = tokenizer_for("char", text_files(options_.data, options_.out / kDataFolder));
  }
}

Gpt2Config Trainer::resolve_config() const {
  const fs::path& source = resume_from_.empty() ? weights_from_ : resume_from_;
  Gpt2Config config = source.empty() ? config_from_name(model_name_) : read_model_config(source);
  struct Flag {
    std::string_view name;
    const std::optional<int64_t>& value;
    int64_t Gpt2Config::*dimension;
  };
  const std::array flags = {
      Flag{"--layers", options_.layers, &Gpt2Config::layers}, Flag{"--heads", options_.heads, &Gpt2Config::heads},
      Flag{"--channels", options_.channels, &Gpt2Config::channels},
      Flag{"--context", options_.context, &Gpt2Config::context}, Flag{"--vocab", options_.vocab, &Gpt2Config::vocab}};
  for (const Flag& flag : flags) {
    if (!flag.value) continue;
    if (!source.empty() && *flag.value != config.*flag.dimension) {
      throw UsageError(fmt::format("{} {} contradicts {}, which has {}", flag.name, *flag.value, source.string(),
                                   config.*flag.dimension));
    }
    config.*flag.dimension = *flag.value;
  }
  if (tokenizer_ != nullptr) {
    if (source.empty() && !options_.vocab) config.vocab = tokenizer_->vocab_size();
    if (tokenizer_->vocab_size() > config.vocab) {
      throw UsageError(fmt::format("the {} tokenizer has {} tokens, more than the model's vocabulary of {}",
                                   tokenizer_->name(), tokenizer_->vocab_size(), config.vocab));
    }
  }
  if (!source.empty()) return config;  // validated when it was read
  try {
    config.validate("the model");
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return config;
}

void Trainer::plan_model() {
  const Gpt2Config config = resolve_config();
  if (options_.seq_len == 0) options_.seq_len = config.context;
  if (options_.seq_len > config.context) {
    throw UsageError(
        fmt::format("--seq-len {} is longer than the model's context of {}", options_.seq_len, config.context));
  }
  const int64_t tokens = options_.batch * options_.seq_len;
  if (options_.total_batch == 0) options_.total_batch = tokens;
  if (options_.total_batch % tokens != 0) {
    throw UsageError(fmt::format("--total-batch {} tokens must be a multiple of --batch {} times --seq-len {} = {}",
                                 options_.total_batch, options_.batch, options_.seq_len, tokens));
  }
  if (options_.stochastic_rounding && ops_.storage() == DType::f32) {
    throw UsageError(fmt::format(
        "--stochastic-rounding: the {} device stores all weights as f32 here; it is for GPUs with --dtype bf16",
        ops_.name()));
  }
  accumulation_ = options_.total_batch / tokens;
  model_ = std::make_unique<Gpt2>(config,
                                  Gpt2Options{.batch = options_.batch,
                                              .context = options_.seq_len,
                                              .training = true,
                                              .passes = accumulation_,
                                              .recompute = options_.recompute,
                                              .optimizer_state = {optimizer_->state.begin(), optimizer_->state.end()}},
                                  ops_);
}

// Comes last, when nothing can be wrong with the new run any more: it removes what is left of an earlier one.
void Trainer::prepare_run_folder() {
  if (options_.out.empty()) return;
  make_directories(options_.out);
  if (lock_ == nullptr) lock_ = std::make_unique<FolderLock>(options_.out);
  std::vector<fs::path> unfinished;  // left by a killed process
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.out)) {
    const std::string name = entry.path().filename().string();
    if (is_temporary_name(entry.path()) && name.starts_with(".step_")) unfinished.push_back(entry.path());
  }
  for (const fs::path& path : unfinished) remove_tree(path);
  if (resume_from_.empty()) {
    for (const CheckpointEntry& entry : list_checkpoints(options_.out)) remove_checkpoint(entry);
    for (const char* name : {"main.log", "metrics.jsonl", "run.toml"}) remove_tree(options_.out / name);
  }
  if (new_data_ != nullptr) new_data_->commit();
  write_file(options_.out / "run.toml", options_.saved_options);
  write_file(options_.out / "run.json", run_json(*model_, ops_, steps(), options_.total_batch));
}

// Text becomes shards in the run folder, once.
void Trainer::prepare_data() {
  fs::path folder = options_.out / kDataFolder;
  const bool own_data = !resume_from_.empty() && fs::exists(folder);
  if (options_.data.empty() && !(own_data && options_.train_shards.empty())) return;
  if (!own_data) {
    // Beside the old shards, which prepare_run_folder() replaces when all else has worked; a mapped file may be
    // renamed.
    new_data_ = std::make_unique<AtomicDirectory>(folder, AtomicDirectory::Existing::replace);
    const std::vector<fs::path> files = text_files(options_.data, folder);
    folder = new_data_->temporary();
    const PrepareResult result =
        prepare({.paths = files, .out = folder, .tokenizer = tokenizer_, .val_fraction = options_.val_fraction}, pool_);
    note_(fmt::format("{} tokenizer, {} tokens to train on, {} to validate", tokenizer_->name(), result.train_tokens,
                      result.val_tokens));
  }
  const std::string pattern = glob_escape(folder.string());
  options_.train_shards = pattern + "/train_*.bin";
  options_.val_shards = options_.val_fraction > 0 ? pattern + "/val_*.bin" : "";
}

void Trainer::open_loaders() {
  const Gpt2Config& config = model_->config();
  Order order = options_.data.empty() ? Order::batches : Order::sequences;
  if (!options_.order.empty()) order = order_from_name(options_.order);
  LoaderOptions train = {.pattern = options_.overfit ? options_.val_shards : options_.train_shards,
                         .batch = options_.batch,
                         .context = options_.seq_len,
                         .vocab = config.vocab,
                         .order = options_.overfit ? Order::sequential : order,
                         .seed = options_.seed};
  train_loader_ = std::make_unique<Loader>(train);
  if (!options_.val_shards.empty() && options_.val_every > 0) {
    LoaderOptions validation = train;
    validation.pattern = options_.val_shards;
    validation.order = Order::sequential;
    // A short text's validation part may hold less than a whole batch: validate on fewer sequences at a time.
    if (!options_.data.empty()) {
      const fs::path folder = new_data_ != nullptr ? new_data_->temporary() : options_.out / kDataFolder;
      const int64_t fit = (smallest_shard(folder, "val_") - 1) / options_.seq_len;
      validation.batch = std::min(options_.batch, fit);
    }
    if (validation.batch > 0) {
      val_loader_ = std::make_unique<Loader>(validation);
      val_batch_ = validation.batch;
      val_batches_ = options_.val_batches < 0 ? val_loader_->batches() : options_.val_batches;
    } else {
      note_("the validation part is shorter than one sequence: training without validation");
    }
  }
  const int64_t epoch = std::max<int64_t>(1, train_loader_->tokens() / options_.total_batch);
  schedule_options_ = {.lr = options_.lr,
                       .warmup = options_.warmup,
                       .steps = options_.steps < 0 ? epoch : options_.steps,
                       .final_fraction = options_.final_lr_fraction};
  if (options_.warmup > schedule_options_.steps) {
    throw UsageError(
        fmt::format("--warmup {} is longer than the run of {} steps", options_.warmup, schedule_options_.steps));
  }
}

}  // namespace ink
