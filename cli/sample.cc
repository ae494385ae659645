// ink sample: text from a model.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/options.h"
#include "cli/stop_signals.h"
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/infer/generator.h"
#include "ink/infer/model.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

struct SampleCommand {
  std::string model;
  std::string tokenizer;
  std::string prompt;
  std::string prompt_file;
  std::vector<std::string> stops, biases;
  int64_t samples = 1;
  uint64_t seed = 42;
  bool prompt_given = false;
  bool ignore_end = false;
  bool json = false;
  InferenceOptions inference;
  GenerateOptions generate;
  DeviceOptions device;
};

void print(std::string_view text) {
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
        "standard output: cannot write");
}

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

// ID=BIAS, or TEXT=BIAS where the text is one token.
void add_bias(const std::string& word, const Tokenizer& tokenizer, SamplerOptions& options) {
  const size_t sign = word.rfind('=');
  const std::string key = word.substr(0, sign);
  const std::string number = sign == std::string::npos ? "" : word.substr(sign + 1);
  char* number_end = nullptr;
  const float bias = std::strtof(number.c_str(), &number_end);
  if (key.empty() || number.empty() || *number_end != '\0') {
    throw UsageError(fmt::format("--logit-bias {}: not of the form TOKEN=NUMBER", word));
  }
  int32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    const std::vector<int32_t> ids = encode(tokenizer, key);
    if (ids.size() != 1) {
      throw UsageError(fmt::format("--logit-bias {}: '{}' is {} tokens, not one", word, key, ids.size()));
    }
    id = ids.front();
  }
  options.logit_bias[id] = bias;
}

// What a continuation has come to.
struct Continuation {
  std::string text;  // up to the stop string, if there was one
  std::vector<GeneratedToken> tokens;
  std::string finish;  // as OpenAI's interface says it: "length", "stop"
};

using Show = std::function<void(std::string_view)>;

// Appends to ids and shows the text as it comes.
Continuation continue_text(const SampleCommand& s, const LoadedModel& loaded, const GenerateOptions& options,
                           std::vector<int32_t>& ids, const Show& show, const std::atomic<bool>* stop = nullptr) {
  const Tokenizer& tokenizer = *loaded.tokenizer;
  Continuation result;
  Utf8Stream whole;
  StopStrings stops(s.stops);
  const auto add = [&](const std::string& text) {
    result.text += text;
    show(text);
  };
  const int32_t end = tokenizer.end_of_text().value_or(-1);
  const int64_t count = generate(*loaded.model, options, end, ids, [&](const GeneratedToken& token) {
    if (s.json) result.tokens.push_back(token);
    add(stops.push(whole.push(tokenizer.token(token.id))));
    return !stops.found() && (stop == nullptr || !*stop);
  });
  add(stops.push(whole.finish()));
  add(stops.finish());
  result.finish = !stops.found() && count == options.max_tokens ? "length" : "stop";
  return result;
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) { return std::string(tokenizer.token(id)); }

// One line of JSON. Bytes that are no UTF-8 are replaced.
void print_json(const std::string& prompt, const Continuation& c, const Tokenizer& tokenizer, uint64_t seed) {
  nlohmann::ordered_json line = {{"prompt", prompt}, {"text", c.text}, {"finish_reason", c.finish}, {"seed", seed}};
  for (const GeneratedToken& token : c.tokens) {
    nlohmann::ordered_json object = {{"id", token.id}, {"token", token_text(tokenizer, token.id)}};
    for (size_t i = 0; i < token.logprobs.size(); ++i) {
      const TokenLogprob& p = token.logprobs[i];
      if (i == 0) {
        object["logprob"] = p.logprob;
        object["top_logprobs"] = nlohmann::ordered_json::array();
      } else {
        object["top_logprobs"].push_back(
            {{"id", p.id}, {"token", token_text(tokenizer, p.id)}, {"logprob", p.logprob}});
      }
    }
    line["tokens"].push_back(std::move(object));
  }
  print(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_samples(const SampleCommand& s, const LoadedModel& loaded, const std::string& prompt) {
  const Tokenizer& tokenizer = *loaded.tokenizer;
  const std::vector<int32_t> prompt_ids = prompt.empty() ? default_prompt(tokenizer) : encode(tokenizer, prompt);
  GenerateOptions options = s.generate;
  for (int64_t i = 0; i < s.samples; ++i) {
    options.sampler.seed = s.seed + static_cast<uint64_t>(i);
    std::vector<int32_t> ids = prompt_ids;
    if (s.json) {
      const Continuation c = continue_text(s, loaded, options, ids, [](std::string_view) {});
      print_json(prompt, c, tokenizer, options.sampler.seed);
      continue;
    }
    if (i > 0) print("---\n");
    print(prompt);
    continue_text(s, loaded, options, ids, print);
    print("\n");
  }
}

// Every line is a prompt, an empty one goes on with the text before it. Ctrl-C ends a text, at the prompt the program.
void prompt_loop(const SampleCommand& s, const LoadedModel& loaded, StopSignals& signals) {
  print("A line to go on from; an empty one goes on with the last text. Ctrl-C stops a text, Ctrl-D ends.\n");
  GenerateOptions options = s.generate;
  options.sampler.seed = s.seed;
  std::vector<int32_t> ids = default_prompt(*loaded.tokenizer);
  while (const std::optional<std::string> line = read_line("> ")) {
    if (!line->empty()) ids = encode(*loaded.tokenizer, *line);
    print(*line);
    signals.start();
    continue_text(s, loaded, options, ids, print, &signals.requested());
    signals.pause();
    print("\n");
    ++options.sampler.seed;
  }
  print("\n");
}

void run_sample(SampleCommand s) {
  s.generate.sampler.validate();  // before anything is loaded or printed
  const bool interactive = !s.prompt_given && s.prompt_file.empty() && !s.json && ::isatty(STDIN_FILENO) != 0;
  const TerminalState terminal;
  std::unique_ptr<StopSignals> signals;
  if (interactive) signals = std::make_unique<StopSignals>([&] { terminal.restore(); });
  Device device(s.device);
  const LoadedModel loaded = load_model(resolve_model_path(s.model), *device.ops, s.inference, s.tokenizer);
  for (const std::string& word : s.biases) add_bias(word, *loaded.tokenizer, s.generate.sampler);
  s.generate.vocab = loaded.tokenizer->vocab_size();
  const Sampler checked(s.generate.sampler, s.generate.vocab);  // the biases too, before anything is printed
  s.generate.stop_at_end_of_text = !s.ignore_end;
  if (interactive) return prompt_loop(s, loaded, *signals);
  std::string prompt = s.prompt;
  if (!s.prompt_file.empty()) prompt = s.prompt_file == "-" ? read_stdin() : read_file(s.prompt_file);
  print_samples(s, loaded, prompt);
}

}  // namespace

void add_sample_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("sample", "Generate text; a prompt loop where standard input is a terminal");
  const auto s = std::make_shared<SampleCommand>();
  command.add_option("--model", s->model, "A run folder, a model folder, a .gguf or an llm.c .bin file")->required();
  command.add_option("--tokenizer", s->tokenizer, "gpt2, byte or a folder; by default the model's own");
  CLI::Option* prompt = command.add_option("--prompt", s->prompt, "Text to go on from; \"\" for none");
  command.add_option("--prompt-file", s->prompt_file, "The same from a file, - for standard input")->excludes(prompt);
  command.add_option("--samples", s->samples, "How many, with seeds counting up")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command.add_option("--max-tokens", s->generate.max_tokens, "Longest continuation")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--context", s->inference.context, "Tokens that the model sees at most; 0: all it can")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  require_number<uint64_t>(command.add_option("--seed", s->seed, "The same seed gives the same text"))
      ->capture_default_str();
  command.add_option("--stop", s->stops, "End before this text; may be given more than once")->allow_extra_args(false);
  command.add_option("--logit-bias", s->biases, "TOKEN=NUMBER, added to that token's logit; an id or text; repeatable")
      ->allow_extra_args(false);
  CLI::Option* json = command.add_flag("--json", s->json, "A line of JSON a sample, with its tokens");
  command.add_option("--logprobs", s->generate.logprobs, "With --json: log-probabilities, and of so many alternatives")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->needs(json);
  command.add_flag("--ignore-end", s->ignore_end, "Go on past the end-of-text token");
  add_sampler_options(command, s->generate.sampler);
  add_device_options(command, s->device);
  command.callback([s, prompt] {
    s->prompt_given = prompt->count() > 0;
    run_sample(*s);
  });
}

}  // namespace ink
