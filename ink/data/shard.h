// Token shards in llm.c's format: 256 little-endian int32 (magic 20240520, version 1, number of tokens), then the
// tokens as uint16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "ink/base/file.h"

namespace ink {

inline constexpr int32_t kShardMagic = 20240520;
inline constexpr int32_t kShardVersion = 1;
inline constexpr size_t kShardHeaderBytes = 1024;
inline constexpr int64_t kMaxShardTokens = 2147483647;  // the header's count is an int32
inline constexpr int kMaxShardVocab = 65536;            // ids are uint16

// Whether a file that begins with these bytes means to be a shard.
bool is_shard(std::span<const std::byte> bytes);

// A shard mapped for reading. The constructor checks magic, version and that the size is exactly what the header says.
class Shard {
 public:
  explicit Shard(const fs::path& path);

  const fs::path& path() const { return file_.path(); }
  std::span<const uint16_t> tokens() const { return tokens_; }
  void drop() const { file_.drop(file_.bytes()); }  // until they are read again, the tokens take no memory

 private:
  MappedFile file_;
  std::span<const uint16_t> tokens_;
};

// The largest id in tokens; 0 if there are none. Runs at memory speed.
uint16_t largest_token(std::span<const uint16_t> tokens);

// Throws Error naming the first token that is not below vocab, and its position.
void check_vocab(const Shard& shard, int64_t vocab);

// Writes one shard piece by piece, whole or not at all.
class ShardWriter {
 public:
  explicit ShardWriter(const fs::path& path);
  void write(std::span<const int32_t> tokens);  // each in [0, 65535]; Error otherwise
  void write(std::span<const uint16_t> tokens);
  int64_t tokens() const { return count_; }
  void commit();  // fills in the header; at least one token, at most 2^31 - 1

 private:
  fs::path path_;
  AtomicFile file_;
  int64_t count_ = 0;
  std::vector<uint16_t> buffer_;  // narrowed tokens of the write under way
};

}  // namespace ink
