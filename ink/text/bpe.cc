#include "ink/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "ink/base/check.h"

namespace ink {

namespace {

constexpr uint32_t kNone = MergeTable::kNone;

// Up to this many bytes a scan for the lowest rank beats a heap.
constexpr size_t kShortPiece = 64;

// Merges a short piece's symbols in place; returns how many are left. merged(rank) is the id of a merge.
template <class Merged>
size_t merge_short(const MergeTable& table, const Merged& merged, int32_t* ids, size_t n) {
  std::array<uint32_t, kShortPiece> ranks;  // of the pair (i, i + 1)
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = table.find(ids[i], ids[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == kNone) break;
    ids[best] = merged(ranks[best]);
    --n;
    for (size_t i = best + 1; i < n; ++i) {
      ids[i] = ids[i + 1];
      ranks[i - 1] = ranks[i];
    }
    // The shift put the pair after next at best; both pairs that touch the new symbol are looked up afresh.
    if (best + 1 < n) ranks[best] = table.find(ids[best], ids[best + 1]);
    if (best > 0) ranks[best - 1] = table.find(ids[best - 1], ids[best]);
  }
  return n;
}

// The same for any length: symbols in a linked list, pairs in a heap. A pair that has changed since it was pushed is
// recognised by its rank and skipped.
void merge_long(const MergeTable& table, std::span<const int32_t> merged, std::vector<int32_t>& ids) {
  const auto n = static_cast<uint32_t>(ids.size());
  std::vector<uint32_t> next(n), previous(n), ranks(n, kNone);
  std::vector<uint64_t> heap;  // rank in the high word, position in the low one: leftmost first among equals
  heap.reserve(n);
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    if (i + 1 < n) ranks[i] = table.find(ids[i], ids[i + 1]);
    if (ranks[i] != kNone) heap.push_back(static_cast<uint64_t>(ranks[i]) << 32 | i);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto look_up = [&](uint32_t left, uint32_t right) {
    ranks[left] = table.find(ids[left], ids[right]);
    if (ranks[left] == kNone) return;
    heap.push_back(static_cast<uint64_t>(ranks[left]) << 32 | left);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto at = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    if (ranks[at] != rank) continue;
    const uint32_t gone = next[at];
    ids[at] = merged[rank];
    ids[gone] = -1;
    ranks[gone] = kNone;
    next[at] = next[gone];
    ranks[at] = kNone;
    if (next[at] < n) {
      previous[next[at]] = at;
      look_up(at, next[at]);
    }
    if (at > 0) look_up(previous[at], at);
  }
  std::erase(ids, -1);
}

uint64_t hash_bytes(std::string_view bytes) {
  const auto load = [](const char* at, auto& word) { std::memcpy(&word, at, sizeof word); };
  const auto mix = [](uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
  };
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = mix(0, left);
  for (; left > 8; at += 8, left -= 8) {
    uint64_t word = 0;
    load(at, word);
    hash = mix(hash, word);
  }
  if (left >= 4) {  // the two loads overlap
    uint32_t first = 0, last = 0;
    load(at, first);
    load(at + left - 4, last);
    hash = mix(hash, static_cast<uint64_t>(first) << 32 | last);
  } else if (left > 0) {
    const auto byte = [at](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(at[i])); };
    hash = mix(hash, byte(0) << 16 | byte(left / 2) << 8 | byte(left - 1));
  }
  return hash * 0xbf58476d1ce4e5b9ull;
}

// Which ids are special tokens: plain text never gives them.
std::vector<bool> special_ids(const BpeVocab& vocab) {
  std::vector<bool> is_special(vocab.tokens.size());
  for (const auto& [text, id] : vocab.special) is_special[static_cast<size_t>(id)] = true;
  return is_special;
}

std::array<int32_t, 256> ids_of_bytes(std::span<const std::string> tokens, const std::vector<bool>& is_special) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].size() == 1 && !is_special[id]) ids[static_cast<uint8_t>(tokens[id][0])] = static_cast<int32_t>(id);
  }
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    check(ids[byte] >= 0, "the vocabulary has no token for byte 0x{:02x}: a byte-level BPE needs all 256", byte);
  }
  return ids;
}

}  // namespace

MergeTable::MergeTable(size_t capacity) : slots_(std::bit_ceil(std::max<size_t>(64, 2 * capacity)), kEmpty) {
  mask_ = slots_.size() - 1;
  shift_ = 64 - std::countr_zero(slots_.size());
}

void MergeTable::insert(int32_t left, int32_t right, uint32_t rank) {
  const uint64_t key = pack(left, right);
  size_t slot = hash(key);
  while (slots_[slot & mask_] != kEmpty) ++slot;
  slots_[slot & mask_] = key << kRankBits | rank;
}

std::vector<BpeVocab::Merge> merges_from_ranks(std::span<const std::string> tokens) {
  check(tokens.size() <= kMaxBpeVocab, "{} tokens: at most {} are supported", tokens.size(), kMaxBpeVocab);
  const std::array<int32_t, 256> byte_ids = ids_of_bytes(tokens, std::vector<bool>(tokens.size()));
  std::vector<BpeVocab::Merge> merges;
  MergeTable table(tokens.size());
  const auto merged = [&merges](uint32_t rank) { return merges[rank].merged; };
  std::vector<int32_t> long_merged;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string& token = tokens[id];
    if (token.size() == 1) continue;
    ids.clear();
    for (const char c : token) ids.push_back(byte_ids[static_cast<uint8_t>(c)]);
    if (ids.size() <= kShortPiece) {
      ids.resize(merge_short(table, merged, ids.data(), ids.size()));
    } else {
      for (size_t rank = long_merged.size(); rank < merges.size(); ++rank) long_merged.push_back(merges[rank].merged);
      merge_long(table, long_merged, ids);
    }
    check(ids.size() == 2, "token {} is not made of two tokens of lower rank", id);
    table.insert(ids[0], ids[1], static_cast<uint32_t>(merges.size()));
    merges.push_back({ids[0], ids[1], static_cast<int32_t>(id)});
  }
  return merges;
}

Bpe::Bpe(const BpeVocab& vocab)
    : vocab_(vocab), byte_ids_(ids_of_bytes(vocab.tokens, special_ids(vocab))), table_(vocab.merges.size()) {
  check(vocab.tokens.size() <= kMaxBpeVocab && vocab.merges.size() < kMaxBpeVocab,
        "{} tokens and {} merges: at most {} are supported", vocab.tokens.size(), vocab.merges.size(), kMaxBpeVocab);
  merged_.reserve(vocab.merges.size());
  for (const BpeVocab::Merge& m : vocab.merges) {
    table_.insert(m.left, m.right, static_cast<uint32_t>(merged_.size()));
    merged_.push_back(m.merged);
  }
  add_whole_pieces();
}

void Bpe::add_whole_pieces() {
  const std::vector<bool> is_special = special_ids(vocab_);
  pieces_.assign(std::bit_ceil(2 * vocab_.tokens.size()), {0, -1});
  std::vector<int32_t> ids;
  for (size_t id = 0; id < vocab_.tokens.size(); ++id) {
    const std::string& token = vocab_.tokens[id];
    if (is_special[id]) continue;
    ids.clear();
    if (!vocab_.ignore_merges) merge(token, ids);
    if (!vocab_.ignore_merges && (ids.size() != 1 || ids[0] != static_cast<int32_t>(id))) continue;
    const uint64_t hash = hash_bytes(token);
    size_t slot = hash >> 32;
    while (pieces_[slot & (pieces_.size() - 1)].id >= 0) ++slot;
    pieces_[slot & (pieces_.size() - 1)] = {static_cast<uint32_t>(hash), static_cast<int32_t>(id)};
    longest_piece_ = std::max(longest_piece_, token.size());
  }
}

int32_t Bpe::find_piece(std::string_view piece) const {
  if (piece.size() > longest_piece_) return -1;
  const uint64_t hash = hash_bytes(piece);
  for (size_t slot = hash >> 32;; ++slot) {
    const Slot& found = pieces_[slot & (pieces_.size() - 1)];
    if (found.id < 0) return -1;
    if (found.tag == static_cast<uint32_t>(hash) && vocab_.tokens[static_cast<size_t>(found.id)] == piece) {
      return found.id;
    }
  }
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& out) const {
  const int32_t whole = find_piece(piece);
  if (whole >= 0) {
    out.push_back(whole);
  } else {
    merge(piece, out);
  }
}

void Bpe::merge(std::string_view piece, std::vector<int32_t>& out) const {
  if (piece.size() <= kShortPiece) {
    std::array<int32_t, kShortPiece> ids;
    for (size_t i = 0; i < piece.size(); ++i) ids[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
    const size_t n = merge_short(
        table_, [this](uint32_t rank) { return merged_[rank]; }, ids.data(), piece.size());
    out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n));
    return;
  }
  check(piece.size() < kNone, "a run of {} bytes without a break: at most {} can be encoded", piece.size(), kNone - 1);
  std::vector<int32_t> ids(piece.size());
  for (size_t i = 0; i < piece.size(); ++i) ids[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  merge_long(table_, merged_, ids);
  out.insert(out.end(), ids.begin(), ids.end());
}

}  // namespace ink
