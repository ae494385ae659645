// ink data get | prepare | eval | info
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/progress.h"
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/parallel.h"
#include "ink/data/eval_file.h"
#include "ink/data/info.h"
#include "ink/data/prepare.h"
#include "ink/data/registry.h"
#include "ink/data/shard.h"

namespace ink {

namespace {

void print_shards(const std::vector<fs::path>& shards, int64_t tokens, const char* what) {
  if (shards.empty()) return;
  fmt::print("{} tokens {} in {}", tokens, what, shards.front().string());
  if (shards.size() > 1) fmt::print(" to {} ({} shards)", shards.back().filename().string(), shards.size());
  fmt::print("\n");
}

void print_result(const PrepareResult& result) {
  print_shards(result.train_shards, result.train_tokens, "for training");
  print_shards(result.val_shards, result.val_tokens, "for validation");
}

struct GetOptions {
  std::string name, recipe, out;
  bool list = false;
};

void list_datasets() {
  for (const Dataset& dataset : datasets()) {
    fmt::print("{}  {}\n  {} bytes from {}\n", dataset.name, dataset.description, dataset.bytes, dataset.url);
    if (!dataset.recipe.name.empty()) fmt::print("  recipe {}\n", dataset.recipe.name);
  }
}

void get(const GetOptions& options) {
  if (options.list) return list_datasets();
  if (options.name.empty()) throw UsageError("name a data set; `ink data get --list` shows them");
  const Dataset& dataset = find_dataset(options.name);
  if (!options.recipe.empty()) {
    check_recipe(dataset, options.recipe);  // before a download
    if (options.out.empty()) throw UsageError("--recipe writes files: name their folder with --out DIR");
  }
  fs::path file = get_dataset(dataset, byte_progress("fetched"));
  if (!options.recipe.empty()) return print_result(prepare_recipe(dataset, options.recipe, file, options.out));
  if (!options.out.empty()) {
    make_directories(options.out);
    const fs::path copy = fs::path(options.out) / dataset.file;
    write_file(copy, MappedFile(file).text());
    file = copy;
  }
  fmt::print("{}\n", file.string());
}

struct Preparing {
  std::vector<std::string> paths;
  std::string tokenizer = "gpt2", out;
  double val = 0.1;
  int64_t shard_tokens = PrepareOptions{}.shard_tokens;
  int threads = 0;
  bool no_documents = false;
};

void prepare_text(const Preparing& options) {
  PrepareOptions o;
  o.paths.assign(options.paths.begin(), options.paths.end());
  o.out = options.out;
  o.tokenizer = tokenizer_for(options.tokenizer, text_files(o.paths, o.out));
  o.val_fraction = options.val;
  o.shard_tokens = options.shard_tokens;
  o.documents = !options.no_documents;
  o.save_tokenizer = true;
  o.progress = byte_progress("encoded");
  ThreadPool pool(options.threads);
  print_result(prepare(o, pool));
}

void add_get(CLI::App& data) {
  CLI::App& command = *data.add_subcommand("get", "Fetch a data set and print where it is");
  const auto options = std::make_shared<GetOptions>();
  command.add_option("name", options->name, "Name of the data set");
  command.add_flag("--list", options->list, "List the data sets");
  command.add_option("--recipe", options->recipe, "Write it to --out as another program lays it out: llmc");
  command.add_option("--out", options->out, "Folder for the recipe's files, or for a copy of the text")
      ->type_name("DIR");
  command.callback([options] { get(*options); });
}

void add_prepare(CLI::App& data) {
  CLI::App& command = *data.add_subcommand("prepare", "Turn text into token shards, with their tokenizer beside them");
  const auto options = std::make_shared<Preparing>();
  command.add_option("paths", options->paths, "Text files, and folders of them")->required();
  command.add_option("--tokenizer", options->tokenizer, "gpt2, char, byte, or a folder with a tokenizer.json")
      ->capture_default_str();
  command.add_option("--out", options->out, "Folder for the shards")->required()->type_name("DIR");
  command.add_option("--val", options->val, "Share of the text for validation, taken from its end; 0 for none")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  command.add_option("--shard-tokens", options->shard_tokens, "Tokens in one shard, at most")
      ->check(CLI::Range(int64_t{1}, kMaxShardTokens))
      ->capture_default_str();
  command.add_option("--threads", options->threads, "Threads; 0 means all")->check(CLI::Range(0, 4096));
  command.add_flag("--no-documents", options->no_documents, "No end-of-text token before every file");
  command.callback([options] { prepare_text(*options); });
}

void add_eval(CLI::App& data) {
  CLI::App& command = *data.add_subcommand("eval", "Turn multiple-choice questions into llm.c's eval file");
  struct Converting {
    std::string in, out, tokenizer = "gpt2";
  };
  const auto o = std::make_shared<Converting>();
  command.add_option("in", o->in, "Lines of JSON, as HellaSwag's")->required()->type_name("IN.jsonl");
  command.add_option("out", o->out, "The file to write")->required()->type_name("OUT.bin");
  command.add_option("--tokenizer", o->tokenizer, "gpt2, byte, or a folder with a tokenizer.json")
      ->capture_default_str();
  command.callback([o] {
    std::error_code absent;
    check(!fs::equivalent(o->in, o->out, absent), "{}: is the file to read; choose another name to write", o->out);
    const std::vector<ChoiceExample> examples = read_eval_file(o->in, open_tokenizer(o->tokenizer).get());
    write_eval_file(o->out, examples);
    fmt::print("{} examples in {}\n", examples.size(), o->out);
  });
}

void add_info(CLI::App& data) {
  CLI::App& command = *data.add_subcommand("info", "Describe token shards, eval files and text files");
  const auto paths = std::make_shared<std::vector<std::string>>();
  command.add_option("files", *paths, "Shards, eval files or text files")->required()->type_name("FILE");
  command.callback([paths] {
    for (const std::string& path : *paths) fmt::print("{}", describe_data(path));
  });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App& data = *app.add_subcommand("data", "Fetch data sets, turn text into token shards, and describe both");
  data.require_subcommand(1);
  add_get(data);
  add_prepare(data);
  add_eval(data);
  add_info(data);
}

}  // namespace ink
