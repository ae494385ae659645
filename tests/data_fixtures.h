// What the data tests share: shards by formula, messages of errors, and tokenizers that need no text room.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/shard.h"
#include "ink/text/tokenizer.h"

namespace ink {

// The message of the Error that action throws; "no error" if it throws none.
template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// A shard's bytes with any header.
inline std::string shard_bytes(int32_t magic, int32_t version, int32_t count, size_t tokens) {
  std::array<int32_t, 256> header{};
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  std::string bytes(reinterpret_cast<const char*>(header.data()), sizeof header);
  bytes.resize(bytes.size() + 2 * tokens, '\1');
  return bytes;
}

// Token i of the shards whose batches were recorded from llm.c's loader.
inline uint16_t formula_token(uint32_t i, uint32_t salt) {
  return static_cast<uint16_t>(((i * 2654435761u + salt * 40503u) >> 16) % 50257u);
}

inline void write_formula_shard(const fs::path& path, uint32_t tokens, uint32_t salt) {
  std::vector<int32_t> ids(tokens);
  for (uint32_t i = 0; i < tokens; ++i) ids[i] = formula_token(i, salt);
  ShardWriter writer(path);
  writer.write(std::span<const int32_t>(ids));
  writer.commit();
}

inline std::vector<int32_t> shard_ids(const fs::path& path) {
  const Shard shard(path);
  return {shard.tokens().begin(), shard.tokens().end()};
}

// Names of what a folder holds, sorted; hidden names too.
inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// One id a byte, end of text 256. Words may not be cut: only before a blank, so that cuts show. Remembers the longest
// text it was given.
class WordTokenizer : public Tokenizer {
 public:
  std::string_view name() const override { return "word"; }
  int vocab_size() const override { return vocab; }
  std::optional<int> end_of_text() const override { return 256; }
  void encode(std::string_view text, std::vector<int32_t>& out) const override {
    longest = std::max(longest.load(), text.size());
    const size_t bad = text.find(refused);
    check(refused.empty() || bad == std::string_view::npos, "no id for {} at byte {}", refused, bad);
    if (sparse) return out.push_back(static_cast<int32_t>(text.size() % 251));
    for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  }
  void encode_parallel(std::string_view text, ThreadPool& /*pool*/, std::vector<int32_t>& out) const override {
    encode(text, out);
  }
  std::string_view token(int32_t /*id*/) const override { return "x"; }
  size_t safe_cut(std::string_view text, size_t limit) const override {
    const size_t blank = text.rfind(' ', limit);
    return blank == std::string_view::npos ? 0 : blank;
  }
  void save(const fs::path& directory) const override { write_file(directory / "tokenizer.json", "{}"); }

  int vocab = 257;
  bool sparse = false;  // one id a call
  std::string refused;  // text it has no ids for
  mutable std::atomic<size_t> longest{0};
};

}  // namespace ink
