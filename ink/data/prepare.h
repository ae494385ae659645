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

// The text files that paths name: files as they are, folders searched recursively (in sorted order; hidden files, empty
// files and files that hold a NUL byte in their first 8 KiB are skipped, as is a folder below that is `exclude`: where
// results are written). Throws Error for a path that does not exist, an empty file, a folder without any text, and for
// a folder that is `exclude` itself.
std::vector<std::filesystem::path> text_files(const std::vector<std::filesystem::path>& paths,
                                              const std::filesystem::path& exclude = {});

// A tokenizer by name (gpt2, char, byte) or by the folder that holds one. One that is built from its text (char) sees
// all of the files, in bounded memory. Throws UsageError for an unknown name.
std::shared_ptr<const Tokenizer> tokenizer_for(std::string_view name, const std::vector<std::filesystem::path>& files);

// Text is encoded in pieces of at most this many bytes, cut where the tokenizer allows it. Text that it allows to cut
// nowhere (a "word" of megabytes) is cut between two characters all the same.
inline constexpr size_t kPrepareWindow = size_t{4} << 20;
// Bytes after a cut that the tokenizer is shown to decide about it.
inline constexpr size_t kPrepareLookahead = size_t{64} << 10;

struct PrepareOptions {
  std::vector<std::filesystem::path> paths;
  std::filesystem::path out;  // folder; created
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string prefix;                  // shard names: PREFIXtrain_000000.bin, PREFIXval_000000.bin
  double val_fraction = 0.1;           // of the text's bytes, cut at the end of it (nanoGPT's split); 0: no validation
  int64_t shard_tokens = 100'000'000;  // at most, in one shard; a short last one shares with the one before it
  bool documents = true;               // end-of-text before every file, for tokenizers that have it
  bool save_tokenizer = false;         // beside the shards
  std::function<void(int64_t done, int64_t total)> progress;  // bytes; may be empty
};

struct PrepareResult {
  int64_t train_tokens = 0;
  int64_t val_tokens = 0;
  std::vector<std::filesystem::path> train_shards, val_shards;
};

// Encodes all text and writes shards in bounded memory (some tens of MB whatever the input). Shards that an earlier
// call left in `out` under the same prefix are replaced, all of them, once everything is written; on an error they stay
// as they were and nothing of this call is left behind.
PrepareResult prepare(const PrepareOptions& options, ThreadPool& pool);

// llm.c's recipe for tinyshakespeare (dev/data/tinyshakespeare.py): split at blank lines, <|endoftext|> before every
// section, the first 32,768 tokens for validation. Writes tiny_shakespeare_{train,val}.bin into out.
PrepareResult prepare_llmc_tinyshakespeare(std::string_view text, const std::filesystem::path& out);

}  // namespace ink
