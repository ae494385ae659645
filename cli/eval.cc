// ink eval: how well a model predicts text and answers multiple-choice questions.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/eval_file.h"
#include "ink/eval/choices.h"
#include "ink/eval/text_loss.h"
#include "ink/eval/texts.h"
#include "ink/format/model_io.h"
#include "ink/infer/model.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

using nlohmann::ordered_json;

struct EvalCommand {
  std::string model, tokenizer, split;
  std::vector<std::string> data, choices;
  WindowOptions windows;
  int64_t tokens = 0;    // at most, of each data; 0: all
  int64_t examples = 0;  // at most, of each file of questions; 0: all
  bool json = false;
  DeviceOptions device;
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool holds_questions(const std::string& path) {
  std::error_code missing;
  if (!fs::is_regular_file(path, missing)) return false;
  const MappedFile file(path);
  return is_eval_file(file.bytes()) || (fs::path(path).extension() == ".jsonl" && is_eval_jsonl(file.text()));
}

// Questions among --data are found by their content.
void sort_data(EvalCommand& c, const fs::path& model) {
  std::vector<std::string> texts;
  for (std::string& data : c.data) (holds_questions(data) ? c.choices : texts).push_back(std::move(data));
  c.data = std::move(texts);
  if (!c.data.empty() || !c.choices.empty()) return;
  // A checkpoint lies in its run's folder.
  for (const fs::path& run : {fs::path(c.model), fs::weakly_canonical(model).parent_path()}) {
    const fs::path own = validation_data_of(run);
    if (own.empty()) continue;
    c.data.push_back(own.string());
    return;
  }
  throw UsageError("nothing to evaluate on: give --data or --multiple-choice");
}

// A question's completions are computed together, and share the pages of its context: there need not be pages for all.
InferenceOptions inference_options(const EvalCommand& c, const fs::path& model) {
  InferenceOptions options = {.context = c.windows.context};
  if (c.choices.empty()) return options;
  constexpr int64_t kTogether = 16;
  options.sequences = 1 + kTogether;
  options.pages = 2 * KvCache::pages_for(c.windows.context > 0 ? c.windows.context : read_model_config(model).context);
  return options;
}

TextLoss evaluate_text(const EvalCommand& c, const LoadedModel& loaded, EvalTexts& texts) {
  TextLoss loss;
  int64_t left = c.tokens;
  for (TokenStream& stream : texts.streams) {
    if (c.tokens > 0) {
      if (left < 2) break;
      stream.size = std::min(stream.size, left);
      left -= stream.size;
    }
    if (stream.size < 2 && texts.streams.size() > 1) continue;  // there is nothing to predict in it
    loss += text_loss(*loaded.model, stream, c.windows, *loaded.tokenizer, count_progress("evaluated", "tokens"));
  }
  check(loss.tokens > 0, "{}: too few tokens to predict one from another", texts.name);
  return loss;
}

ordered_json json_of(const std::string& name, const TextLoss& loss, double seconds) {
  ordered_json json = {{"data", name},        {"tokens", loss.tokens},           {"windows", loss.windows},
                       {"loss", loss.mean()}, {"perplexity", loss.perplexity()}, {"bytes", loss.bytes}};
  json["bits_per_byte"] = loss.bytes > 0 ? ordered_json(loss.bits_per_byte()) : ordered_json();
  json["seconds"] = seconds;
  return json;
}

void print(const std::string& name, const TextLoss& loss, double seconds) {
  fmt::print(
      "{}\n  tokens         {} in {} windows, {:.1f} s\n  loss           {:.6f} nats a token\n  perplexity     "
      "{:.4f}\n",
      name, loss.tokens, loss.windows, seconds, loss.mean(), loss.perplexity());
  if (loss.bytes > 0) fmt::print("  bits per byte  {:.6f}\n", loss.bits_per_byte());
}

ordered_json json_of(const std::string& name, const ChoiceResult& r, double seconds) {
  const auto share = [&](int64_t right, double of_all) {
    const Interval interval = wilson_interval(right, r.examples);
    return ordered_json{{"right", right}, {"share", of_all}, {"low", interval.low}, {"high", interval.high}};
  };
  return {{"file", name},
          {"examples", r.examples},
          {"acc", share(r.right, r.acc())},
          {"acc_norm", share(r.right_norm, r.acc_norm())},
          {"cut", r.cut},
          {"seconds", seconds}};
}

void print(const std::string& name, const ChoiceResult& r, double seconds) {
  fmt::print("{}\n  examples  {}, {:.1f} s\n", name, r.examples, seconds);
  const auto line = [&](const char* what, int64_t right, double share, const char* rule) {
    const Interval i = wilson_interval(right, r.examples);
    fmt::print("  {:<8}  {:.4f} ({:.4f} to {:.4f} with 95% confidence), {} right by the {}\n", what, share, i.low,
               i.high, right, rule);
  };
  line("acc", r.right, r.acc(), "summed loss");
  line("acc_norm", r.right_norm, r.acc_norm(), "mean loss a token, as llm.c");
  if (r.cut > 0) fmt::print("  cut       {} contexts were too long and lost their beginning\n", r.cut);
}

ChoiceResult evaluate_choices(const EvalCommand& c, const LoadedModel& loaded, const std::string& path) {
  std::vector<ChoiceExample> examples = read_eval_file(path, loaded.tokenizer.get());
  if (c.examples > 0 && examples.size() > static_cast<size_t>(c.examples)) {
    examples.resize(static_cast<size_t>(c.examples));
  }
  try {
    return answer_choices(*loaded.model, examples, count_progress("answered", "questions"));
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
}

void run_eval(EvalCommand c) {
  const std::optional<Split> split = c.split.empty() ? std::nullopt : std::optional<Split>(split_from_name(c.split));
  const fs::path path = resolve_model_path(c.model);
  sort_data(c, path);
  Device device(c.device);
  const LoadedModel loaded = load_model(path, *device.ops, inference_options(c, path), c.tokenizer);
  ordered_json json = {{"model", c.model}};
  for (const std::string& data : c.data) {
    EvalTexts texts = open_eval_texts(data, split, *loaded.tokenizer, loaded.model->config().vocab, device.pool,
                                      byte_progress("fetched"));
    const Stopwatch watch;
    const TextLoss loss = evaluate_text(c, loaded, texts);
    if (c.json) json["text"].push_back(json_of(texts.name, loss, watch.seconds()));
    if (!c.json) print(texts.name, loss, watch.seconds());
  }
  for (const std::string& file : c.choices) {
    const Stopwatch watch;
    const ChoiceResult result = evaluate_choices(c, loaded, file);
    if (c.json) json["multiple_choice"].push_back(json_of(file, result, watch.seconds()));
    if (!c.json) print(file, result, watch.seconds());
  }
  if (c.json) fmt::print("{}\n", json.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("eval", "Loss and perplexity on text, accuracy on multiple choice");
  const auto c = std::make_shared<EvalCommand>();
  command.add_option("model,--model", c->model, "A run folder, a model folder, a .gguf or an llm.c .bin file")
      ->required();
  command.add_option("--data", c->data,
                     "Text files, folders, token shards, names of data sets, questions; by default the run's own "
                     "validation data");
  command.add_option("--multiple-choice", c->choices, "Questions: llm.c's eval files (HellaSwag), or lines of JSON")
      ->type_name("FILE");
  command.add_option("--split", c->split,
                     "val, train or all, of what can be split; by default val of data sets and "
                     "folders of shards, all of text files");
  const auto count = [&](const char* name, int64_t& value, const char* text) {
    command.add_option(name, value, text)->check(CLI::Range(int64_t{0}, int64_t{1} << 40))->capture_default_str();
  };
  count("--context", c->windows.context, "Tokens in a window; 0: all that the model has room for");
  count("--stride", c->windows.stride,
        "Tokens from one window to the next, each counting only what is new; 0: the context");
  count("--skip", c->windows.skip, "Predictions at the beginning of a window that never count");
  count("--tokens", c->tokens, "Only the first so many tokens of each; 0: all");
  count("--examples", c->examples, "Only the first so many questions of each file; 0: all");
  command.add_option("--tokenizer", c->tokenizer, "gpt2, byte or a folder; by default the model's own");
  command.add_flag("--json", c->json, "One JSON object instead of text");
  add_device_options(command, c->device);
  command.callback([c] { run_eval(*c); });
}

}  // namespace ink
