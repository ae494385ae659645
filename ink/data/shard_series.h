// Writing many shards that appear together, or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ink/data/shard.h"

namespace ink {

// A hidden folder in `out` for files that are not finished. publish() moves them into out all at once; without it the
// destructor leaves out as it was.
class Staging {
 public:
  explicit Staging(const fs::path& out);  // creates out
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  const fs::path& folder() const { return folder_; }

  // Removes the files of out named in `stale` and moves the folder's files into out, over what has their names. If that
  // fails on the way, everything is moved back.
  void publish(const std::vector<std::string>& stale);

 private:
  fs::path out_;
  fs::path folder_;
  bool out_is_new_ = false;
};

// Shards STEM_000000.bin, STEM_000001.bin, ... of at most shard_tokens each.
class ShardSeries {
 public:
  ShardSeries(const fs::path& folder, std::string stem, int64_t shard_tokens);

  void write(std::span<const int32_t> tokens);
  // Ends the last shard. If it holds less than half of what it may, it shares evenly with the one before: a handful of
  // tokens would be too few for a batch.
  void finish();

  int64_t tokens() const { return tokens_; }
  const std::vector<std::string>& names() const { return names_; }

 private:
  void balance_last_two();

  fs::path folder_;
  std::string stem_;
  int64_t shard_tokens_;
  int64_t tokens_ = 0;
  std::vector<std::string> names_;
  std::optional<ShardWriter> writer_;
};

// The files in folder that a series with this stem may have written.
std::vector<std::string> shards_of_series(const fs::path& folder, std::string_view stem);

}  // namespace ink
