// Encodes text into shards: files one after another, each through a window, cut where the tokenizer allows it.
#include "ink/data/prepare.h"

#include <algorithm>
#include <array>
#include <limits>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/shard_series.h"
#include "ink/data/text_window.h"

namespace ink {

namespace {

// The files that Tokenizer::save writes, whatever the kind: one kind's must not stay beside another's.
constexpr std::array<std::string_view, 4> kTokenizerFiles = {"tokenizer.json", "tokenizer_config.json", "vocab.json",
                                                             "merges.txt"};

void check_options(const PrepareOptions& o) {
  check(o.val_fraction >= 0 && o.val_fraction < 1, "a validation fraction of {} is not in [0, 1)", o.val_fraction);
  check(o.prefix.find('/') == std::string::npos, "{}: a prefix for names of shards cannot hold a /", o.prefix);
  check(o.tokenizer->vocab_size() <= kMaxShardVocab,
        "{}: a vocabulary of {} does not fit a shard's 16-bit tokens; use one of at most {}", o.tokenizer->name(),
        o.tokenizer->vocab_size(), kMaxShardVocab);
}

// One call of prepare: where the training text ends, and the two series it goes to.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, const fs::path& folder, ThreadPool& pool)
      : options_(options),
        pool_(pool),
        train_(folder, options.prefix + "train", options.shard_tokens),
        val_(folder, options.prefix + "val", options.shard_tokens) {}

  ShardSeries& train() { return train_; }
  ShardSeries& val() { return val_; }

  void encode(const std::vector<fs::path>& files) {
    for (const fs::path& path : files) total_ += TextWindow(path).bytes();
    // As nanoGPT: int(n * 0.9) of n.
    train_bytes_ = options_.val_fraction > 0
                       ? static_cast<int64_t>(static_cast<double>(total_) * (1 - options_.val_fraction))
                       : std::numeric_limits<int64_t>::max();
    for (const fs::path& path : files) encode_file(path);
    train_.finish();
    val_.finish();
  }

 private:
  void encode_file(const fs::path& path) {
    TextWindow window(path);
    ShardSeries* series = done_ < train_bytes_ ? &train_ : &val_;
    const auto end_of_text = options_.tokenizer->end_of_text();
    if (options_.documents && end_of_text) series->write(std::array<int32_t, 1>{*end_of_text});
    while (window.position() < window.bytes()) {
      const std::string_view text = window.ahead(kPrepareWindow + kPrepareLookahead);
      size_t limit = std::min(text.size(), kPrepareWindow);
      const bool split = series == &train_ && train_bytes_ - done_ <= static_cast<int64_t>(limit);
      if (split) limit = static_cast<size_t>(train_bytes_ - done_);
      const size_t piece = cut(text, limit, split && window.position() > 0);
      if (piece > 0) write_piece(text.substr(0, piece), *series);
      window.consume(piece);
      if (split) series = &val_;
    }
  }

  void write_piece(std::string_view text, ShardSeries& series) {
    tokens_.clear();
    options_.tokenizer->encode_parallel(text, pool_, tokens_);
    series.write(tokens_);
    done_ += static_cast<int64_t>(text.size());
    if (options_.progress) options_.progress(done_, total_);
  }

  // The start of text is a safe place itself unless it is the file's: there a split would leave nothing.
  size_t cut(std::string_view text, size_t limit, bool may_be_empty) const {
    if (limit == text.size()) return limit;  // the file's end
    const size_t safe = options_.tokenizer->safe_cut(text, limit);
    return safe > 0 || may_be_empty ? safe : character_cut(text, limit);
  }

  const PrepareOptions& options_;
  ThreadPool& pool_;
  ShardSeries train_, val_;
  int64_t total_ = 0;        // bytes of all files
  int64_t train_bytes_ = 0;  // how many of them are for training
  int64_t done_ = 0;
  std::vector<int32_t> tokens_;
};

std::vector<fs::path> in_folder(const fs::path& folder, const std::vector<std::string>& names) {
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(folder / name);
  return paths;
}

}  // namespace

PrepareResult prepare(const PrepareOptions& options, ThreadPool& pool) {
  check_options(options);
  const std::vector<fs::path> files = text_files(options.paths, options.out);
  const fs::path out = fs::weakly_canonical(options.out);
  for (const fs::path& file : files) {
    check(fs::weakly_canonical(file).parent_path() != out || file.extension() != ".bin",
          "{}: lies where shards are to be written; choose another --out", file.string());
  }
  Staging staging(options.out);
  Preparation work(options, staging.folder(), pool);
  work.encode(files);
  const int64_t train = work.train().tokens(), val = work.val().tokens();
  check(train > 0 && (val > 0 || options.val_fraction == 0),
        "{}: the text is too short to split: {} tokens for training, {} for validation; add text or leave out "
        "validation (--val 0)",
        files.front().string(), train, val);
  std::vector<std::string> stale = shards_of_series(options.out, options.prefix + "train");
  const std::vector<std::string> stale_val = shards_of_series(options.out, options.prefix + "val");
  stale.insert(stale.end(), stale_val.begin(), stale_val.end());
  if (options.save_tokenizer) {
    options.tokenizer->save(staging.folder());
    stale.insert(stale.end(), kTokenizerFiles.begin(), kTokenizerFiles.end());
  }
  staging.publish(stale);
  return {train, val, in_folder(options.out, work.train().names()), in_folder(options.out, work.val().names())};
}

PrepareResult prepare_llmc_tinyshakespeare(std::string_view text, const fs::path& out) {
  constexpr size_t val_tokens = 32768;
  // Python reads text with every kind of line end as \n.
  std::string lines;
  lines.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool before_newline = i + 1 < text.size() && text[i + 1] == '\n';
    if (text[i] != '\r') lines += text[i];
    if (text[i] == '\r' && !before_newline) lines += '\n';
  }
  const std::shared_ptr<const Tokenizer> gpt2 = make_gpt2_tokenizer();
  const int32_t end_of_text = gpt2->end_of_text().value();
  std::vector<int32_t> tokens;
  // Every section but the last keeps the blank line that ends it.
  std::string_view rest = lines;
  while (true) {
    const size_t blank = rest.find("\n\n");
    tokens.push_back(end_of_text);
    gpt2->encode(rest.substr(0, blank == std::string_view::npos ? blank : blank + 2), tokens);
    if (blank == std::string_view::npos) break;
    rest.remove_prefix(blank + 2);
  }
  check(tokens.size() > val_tokens,
        "the text gives {} tokens, llm.c's recipe puts the first {} aside; use a longer text", tokens.size(),
        val_tokens);
  const std::string train_name = "tiny_shakespeare_train.bin", val_name = "tiny_shakespeare_val.bin";
  const std::span<const int32_t> all = tokens;
  Staging staging(out);
  const auto write = [&](const std::string& name, std::span<const int32_t> part) {
    ShardWriter shard(staging.folder() / name);
    shard.write(part);
    shard.commit();
  };
  write(val_name, all.first(val_tokens));
  write(train_name, all.subspan(val_tokens));
  staging.publish({});
  return {static_cast<int64_t>(tokens.size() - val_tokens), val_tokens, {out / train_name}, {out / val_name}};
}

}  // namespace ink
