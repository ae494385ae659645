// ink tokenizer encode | decode | save | info
#include "ink/text/tokenizer.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/parallel.h"
#include "ink/text/vocabulary.h"

namespace ink {

namespace {

struct Options {
  std::string tokenizer = "gpt2";
  std::string text;  // the file a char tokenizer is built from
  std::string file;  // empty or -: standard input
  bool special = false;
  int threads = 0;
};

std::shared_ptr<const Tokenizer> open(const Options& options) {
  for (const TokenizerInfo& info : tokenizers()) {
    if (info.needs_text && info.name == options.tokenizer && options.text.empty()) {
      throw UsageError(fmt::format("--tokenizer {} needs --text FILE, the text that it is built from", info.name));
    }
  }
  return open_tokenizer(options.tokenizer, options.text.empty() ? std::string() : read_file(options.text));
}

bool from_stdin(const Options& options) { return options.file.empty() || options.file == "-"; }

std::string read_input(const Options& options) { return from_stdin(options) ? read_stdin() : read_file(options.file); }

void write(std::string_view bytes) {
  check(std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0,
        "standard output: cannot write");
}

void encode(const Options& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = open(options);
  const std::string text = read_input(options);
  std::vector<int32_t> ids;
  if (options.special) {
    tokenizer->encode_with_special(text, ids);
  } else {
    ThreadPool pool(options.threads);
    tokenizer->encode_parallel(text, pool, ids);
  }
  write(format_ids(ids) + "\n");
}

void decode(const Options& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = open(options);
  const std::string source = from_stdin(options) ? "standard input" : options.file;
  write(tokenizer->decode(parse_ids(read_input(options), tokenizer->vocab_size(), source)));
}

void save(const Options& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = open(options);
  const fs::path out = options.file;
  check(!fs::exists(out), "{}: exists already; choose another name or remove it", out.string());
  const bool llmc = out.extension() == ".bin";
  if (llmc) {
    save_llmc_tokenizer(*tokenizer, out);
  } else {
    AtomicDirectory directory(out);
    tokenizer->save(directory.temporary());
    directory.commit();
  }
  write(fmt::format("wrote {}: {} tokenizer of {} tokens, {}\n", out.string(), tokenizer->name(),
                    tokenizer->vocab_size(), llmc ? "as llm.c's file" : "as a Hugging Face folder"));
}

}  // namespace

void add_tokenizer_command(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Turn text into token ids and back");
  tokenizer->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, const char* file) {
    CLI::App* command = tokenizer->add_subcommand(name, description);
    command
        ->add_option("--tokenizer", options->tokenizer,
                     "gpt2, char, byte, a folder with a tokenizer.json, or llm.c's tokenizer file")
        ->capture_default_str();
    command->add_option("--text", options->text, "The text that a char tokenizer is built from")->type_name("FILE");
    if (file != nullptr) command->add_option("file", options->file, file)->type_name("FILE");
    return command;
  };
  CLI::App* encoder =
      add("encode", "Print the ids of a text, with blanks between them", "Text; standard input if absent");
  encoder->add_flag("--special", options->special, "Let special tokens in the text (<|endoftext|>) be their ids");
  encoder->add_option("--threads", options->threads, "Threads; 0 means all")->check(CLI::Range(0, 4096));
  encoder->callback([options] { encode(*options); });
  CLI::App* decoder = add("decode", "Write the bytes of ids", "Ids between white space; standard input if absent");
  decoder->callback([options] { decode(*options); });
  CLI::App* saver = add("save", "Write a tokenizer's files", nullptr);
  saver->add_option("out", options->file, "NAME.bin for llm.c's tokenizer file, else a Hugging Face folder")
      ->required();
  saver->callback([options] { save(*options); });
  CLI::App* info = add("info", "Describe a tokenizer", nullptr);
  info->callback([options] { write(describe(*open(*options))); });
}

}  // namespace ink
