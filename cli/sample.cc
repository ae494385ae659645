// ink sample: text from a model.
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
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
  int64_t samples = 1;
  int64_t max_tokens = 256;
  uint64_t seed = 42;
  bool ignore_end = false;
  GenerateOptions generate;
  DeviceOptions device;
};

void print(std::string_view text) {
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
        "standard output: cannot write");
}

void run_sample(const SampleCommand& s) {
  s.generate.sampler.validate();  // before anything is loaded or printed
  Device device(s.device);
  const LoadedModel loaded = load_model(resolve_model_path(s.model), *device.ops, 0, s.tokenizer);
  const Tokenizer& tokenizer = *loaded.tokenizer;
  std::string prompt = s.prompt;
  if (!s.prompt_file.empty()) prompt = s.prompt_file == "-" ? read_stdin() : read_file(s.prompt_file);
  std::vector<int32_t> prompt_ids;
  if (prompt.empty()) {
    prompt_ids = default_prompt(tokenizer);
  } else {
    tokenizer.encode(prompt, prompt_ids);
  }
  GenerateOptions options = s.generate;
  options.max_tokens = s.max_tokens;
  options.vocab = tokenizer.vocab_size();
  options.stop_at_end_of_text = !s.ignore_end;
  for (int64_t i = 0; i < s.samples; ++i) {
    if (i > 0) print("---\n");
    options.sampler.seed = s.seed + static_cast<uint64_t>(i);
    std::vector<int32_t> ids = prompt_ids;
    Utf8Stream stream;
    print(prompt);
    generate(*loaded.model, options, tokenizer.end_of_text().value_or(-1), ids, [&](int32_t id) {
      print(stream.push(tokenizer.token(id)));
      return true;
    });
    print(stream.finish() + "\n");
  }
}

}  // namespace

void add_sample_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("sample", "Generate text");
  const auto s = std::make_shared<SampleCommand>();
  command.add_option("--model", s->model, "A run folder, a model folder or an llm.c .bin file")->required();
  command.add_option("--tokenizer", s->tokenizer, "gpt2, byte or a folder; by default the model's own");
  CLI::Option* prompt = command.add_option("--prompt", s->prompt, "Text to go on from");
  command.add_option("--prompt-file", s->prompt_file, "The same from a file, - for standard input")->excludes(prompt);
  command.add_option("--samples", s->samples, "How many, with seeds counting up")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command.add_option("--max-tokens", s->max_tokens, "Longest continuation")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  require_number<uint64_t>(command.add_option("--seed", s->seed, "The same seed gives the same text"))
      ->capture_default_str();
  command.add_flag("--ignore-end", s->ignore_end, "Go on past the end-of-text token");
  add_sampler_options(command, s->generate.sampler);
  add_device_options(command, s->device);
  command.callback([s] { run_sample(*s); });
}

}  // namespace ink
