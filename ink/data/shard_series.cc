#include "ink/data/shard_series.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include "ink/base/check.h"
#include "ink/data/text_window.h"

namespace ink {

namespace {

void move_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check(!error, "{}: cannot move to {}: {}", from.string(), to.string(), error.message());
}

int64_t tokens_left(const TextWindow& shard) {
  return (shard.bytes() - shard.position()) / static_cast<int64_t>(sizeof(uint16_t));
}

void copy_tokens(TextWindow& from, int64_t tokens, ShardWriter& to) {
  constexpr int64_t piece_tokens = int64_t{1} << 20;
  std::vector<uint16_t> piece;
  while (tokens > 0) {
    piece.resize(static_cast<size_t>(std::min(tokens, piece_tokens)));
    const size_t bytes = piece.size() * sizeof(uint16_t);
    std::memcpy(piece.data(), from.ahead(bytes).data(), bytes);
    from.consume(bytes);
    to.write(std::span<const uint16_t>(piece));
    tokens -= static_cast<int64_t>(piece.size());
  }
}

}  // namespace

Staging::Staging(const fs::path& out) : out_(out), folder_(out / ".prepare.tmp") {
  std::error_code ignored;
  out_is_new_ = !fs::exists(out, ignored);
  make_directories(out_);
  remove_tree(folder_);  // as a killed process leaves it
  make_directories(folder_);
}

Staging::~Staging() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  if (out_is_new_) fs::remove(out_, ignored);  // only if nothing was published: a folder that holds files stays
}

void Staging::publish(const std::vector<std::string>& stale) {
  std::vector<std::string> fresh;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    fresh.push_back(entry.path().filename().string());
  }
  std::sort(fresh.begin(), fresh.end());
  std::vector<std::string> old = stale;
  old.insert(old.end(), fresh.begin(), fresh.end());
  std::sort(old.begin(), old.end());
  old.erase(std::unique(old.begin(), old.end()), old.end());

  const fs::path aside = folder_ / "replaced";
  make_directories(aside);
  std::vector<std::pair<fs::path, fs::path>> moves;
  for (const std::string& name : old) {
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(out_ / name, ignored))) continue;
    check(!fs::is_directory(out_ / name, ignored), "{}: is a folder, where a file is to be written",
          (out_ / name).string());
    moves.emplace_back(out_ / name, aside / name);
  }
  for (const std::string& name : fresh) moves.emplace_back(folder_ / name, out_ / name);
  size_t done = 0;
  try {
    for (; done < moves.size(); ++done) move_file(moves[done].first, moves[done].second);
  } catch (...) {
    std::error_code ignored;
    while (done-- > 0) fs::rename(moves[done].second, moves[done].first, ignored);
    throw;
  }
}

ShardSeries::ShardSeries(const fs::path& folder, std::string stem, int64_t shard_tokens)
    : folder_(folder), stem_(std::move(stem)), shard_tokens_(shard_tokens) {
  check(shard_tokens > 0 && shard_tokens <= kMaxShardTokens, "{} tokens in a shard: expected 1 to {}", shard_tokens,
        kMaxShardTokens);
}

void ShardSeries::write(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    if (!writer_) {
      names_.push_back(fmt::format("{}_{:06}.bin", stem_, names_.size()));
      writer_.emplace(folder_ / names_.back());
    }
    const auto room = static_cast<size_t>(shard_tokens_ - writer_->tokens());
    const std::span<const int32_t> piece = tokens.first(std::min(tokens.size(), room));
    writer_->write(piece);
    tokens_ += static_cast<int64_t>(piece.size());
    tokens = tokens.subspan(piece.size());
    if (writer_->tokens() == shard_tokens_) {
      writer_->commit();
      writer_.reset();
    }
  }
}

void ShardSeries::finish() {
  if (!writer_) return;
  const int64_t last = writer_->tokens();
  writer_->commit();
  writer_.reset();
  if (names_.size() > 1 && last < shard_tokens_ / 2) balance_last_two();
}

// Shards are read through a window here: two maps of hundreds of MB would count as this process's memory.
void ShardSeries::balance_last_two() {
  const fs::path first_path = folder_ / names_[names_.size() - 2], second_path = folder_ / names_.back();
  TextWindow first(first_path), second(second_path);  // open files outlive the replacement of their names
  for (TextWindow* window : {&first, &second}) {
    window->ahead(kShardHeaderBytes);
    window->consume(kShardHeaderBytes);
  }
  const int64_t all = tokens_left(first) + tokens_left(second);
  ShardWriter head(first_path), tail(second_path);
  copy_tokens(first, (all + 1) / 2, head);
  copy_tokens(first, tokens_left(first), tail);
  copy_tokens(second, tokens_left(second), tail);
  head.commit();
  tail.commit();
}

std::vector<std::string> shards_of_series(const fs::path& folder, std::string_view stem) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(stem) || !name.ends_with(".bin") || name.size() < stem.size() + 11) continue;
    const std::string_view number = std::string_view(name).substr(stem.size(), name.size() - stem.size() - 4);
    const bool digits = std::all_of(number.begin() + 1, number.end(),
                                    [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
    if (number[0] == '_' && digits) names.push_back(name);
  }
  return names;
}

}  // namespace ink
