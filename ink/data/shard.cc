// Reading and writing token shards. Every malformed file is told apart by what is wrong with it.
#include "ink/data/shard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "ink/base/check.h"

namespace ink {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and mapped as they are");

namespace {

constexpr size_t kWriteTokens = size_t{1} << 16;  // tokens narrowed and written at a time

// What else a file with a wrong magic may be, for the hint.
std::string_view hint_for_magic(int32_t magic) {
  switch (magic) {
    case 20240801:
      return "llm.c's llama-3 format with uint32 tokens is not supported; prepare the text again with gpt2";
    case 20240522:
      return "this is an llm.c multiple-choice evaluation file, not a shard";
    case 20240326:
      return "this is an llm.c model file, not a shard";
    default:
      return "text becomes shards with `ink data prepare`";
  }
}

int32_t header_word(std::span<const std::byte> bytes, size_t index) {
  int32_t word = 0;
  std::memcpy(&word, bytes.data() + index * sizeof word, sizeof word);
  return word;
}

}  // namespace

bool is_shard(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(int32_t) && header_word(bytes, 0) == kShardMagic;
}

Shard::Shard(const fs::path& path) : file_(path) {
  const std::string name = path.string();
  const std::span<const std::byte> bytes = file_.bytes();
  check(!bytes.empty(), "{}: empty file, expected a token shard; write one with `ink data prepare`", name);
  if (bytes.size() >= sizeof(int32_t)) {
    const int32_t magic = header_word(bytes, 0);
    check(magic == kShardMagic, "{}: not a token shard (magic {}, expected {}); {}", name, magic, kShardMagic,
          hint_for_magic(magic));
  }
  check(bytes.size() >= kShardHeaderBytes, "{}: truncated: {} bytes, a shard's header alone takes {}; prepare it again",
        name, bytes.size(), kShardHeaderBytes);
  const int32_t version = header_word(bytes, 1);
  check(version == kShardVersion, "{}: shard version {}, only version {} is known; prepare it again", name, version,
        kShardVersion);
  const int32_t count = header_word(bytes, 2);
  check(count > 0, "{}: the header says {} tokens, expected at least 1; prepare it again", name, count);
  const size_t expected = kShardHeaderBytes + static_cast<size_t>(count) * sizeof(uint16_t);
  check(bytes.size() == expected, "{}: {}: {} bytes, the header's {} tokens need {}; prepare or copy it again", name,
        bytes.size() < expected ? "truncated" : "too long", bytes.size(), count, expected);
  // The map starts on a page and the header is 1,024 bytes long, so the tokens are aligned.
  tokens_ = {reinterpret_cast<const uint16_t*>(bytes.data() + kShardHeaderBytes), static_cast<size_t>(count)};
}

uint16_t largest_token(std::span<const uint16_t> tokens) {
  uint16_t largest = 0;
  for (const uint16_t token : tokens) largest = std::max(largest, token);  // a plain maximum: compilers vectorise it
  return largest;
}

void check_vocab(const Shard& shard, int64_t vocab) {
  const std::span<const uint16_t> tokens = shard.tokens();
  const uint16_t largest = largest_token(tokens);
  shard.drop();  // a data set may be larger than the memory
  if (largest < vocab) return;
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [&](uint16_t token) { return token >= vocab; });
  fail("{}: token {} at position {} is not below the vocabulary of {}; was it prepared with another tokenizer?",
       shard.path().string(), *bad, bad - tokens.begin(), vocab);
}

ShardWriter::ShardWriter(const fs::path& path) : path_(path), file_(path) {
  const std::array<int32_t, kShardHeaderBytes / sizeof(int32_t)> blank{};
  file_.write(blank.data(), sizeof blank);
}

void ShardWriter::write(std::span<const uint16_t> tokens) {
  check(static_cast<int64_t>(tokens.size()) <= kMaxShardTokens - count_,
        "{}: more than {} tokens do not fit one shard; use smaller shards", path_.string(), kMaxShardTokens);
  file_.write(tokens.data(), tokens.size_bytes());
  count_ += static_cast<int64_t>(tokens.size());
}

void ShardWriter::write(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const std::span<const int32_t> piece = tokens.first(std::min(tokens.size(), kWriteTokens));
    buffer_.resize(piece.size());
    for (size_t i = 0; i < piece.size(); ++i) {
      check(piece[i] >= 0 && piece[i] < kMaxShardVocab, "{}: token {} does not fit a shard's 16 bits", path_.string(),
            piece[i]);
      buffer_[i] = static_cast<uint16_t>(piece[i]);
    }
    write(std::span<const uint16_t>(buffer_));
    tokens = tokens.subspan(piece.size());
  }
}

void ShardWriter::commit() {
  check(count_ > 0, "{}: no tokens to write; a shard holds at least one", path_.string());
  const std::array<int32_t, 3> header = {kShardMagic, kShardVersion, static_cast<int32_t>(count_)};
  file_.out().write_at(0, header.data(), sizeof header);
  file_.commit();
}

}  // namespace ink
