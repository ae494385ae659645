// From text to token shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/text/tokenizer.h"

namespace ink {

// The text files that paths name: files as they are, folders searched recursively (in sorted order; hidden files and
// files that hold a NUL byte in their first 8 KiB are skipped). Throws Error for a path that does not exist and for
// paths without any text.
std::vector<std::filesystem::path> text_files(const std::vector<std::filesystem::path>& paths);

struct PrepareOptions {
  std::vector<std::filesystem::path> paths;
  std::filesystem::path out;  // folder; created
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string prefix;                  // shard names: PREFIXtrain_000000.bin, PREFIXval_000000.bin
  double val_fraction = 0.1;           // of the text's bytes, cut at the end of it (nanoGPT's split)
  int64_t shard_tokens = 100'000'000;  // at most, in one shard
  bool documents = true;               // end-of-text before every file, for tokenizers that have it
  std::function<void(int64_t done, int64_t total)> progress;  // bytes; may be empty
};

struct PrepareResult {
  int64_t train_tokens = 0;
  int64_t val_tokens = 0;
  std::vector<std::filesystem::path> train_shards, val_shards;
};

// Encodes all text and writes shards in bounded memory (some tens of MB whatever the input). On an error no shard of
// this call is left behind.
PrepareResult prepare(const PrepareOptions& options, ThreadPool& pool);

// llm.c's recipe for tinyshakespeare (dev/data/tinyshakespeare.py): split at blank lines, <|endoftext|> before every
// section, the first 32,768 tokens for validation. Writes tiny_shakespeare_{train,val}.bin into out.
PrepareResult prepare_llmc_tinyshakespeare(std::string_view text, const std::filesystem::path& out);

}  // namespace ink
