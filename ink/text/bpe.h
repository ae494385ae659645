// Byte-pair encoding of one piece of text: the pair with the lowest rank is merged, leftmost first, until no pair of
// neighbours has a rank (Sennrich et al. 2016; over bytes, Radford et al. 2019).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ink {

// What a byte-level BPE tokenizer is made of. Ids are indices of tokens; a merge's rank is its index.
struct BpeVocab {
  struct Merge {
    int32_t left, right, merged;
  };
  std::vector<std::string> tokens;                       // bytes; for a special token its text
  std::vector<Merge> merges;                             // in the order of their ranks
  std::vector<std::pair<std::string, int32_t>> special;  // text and id, in ascending order of ids
  std::string end_of_text;                               // the special token that ends a document, or empty
  // A piece that is a token as a whole is that token, whatever the merges say (tokenizer.json's ignore_merges).
  bool ignore_merges = false;
};

// The largest vocabulary that Bpe packs into its tables.
constexpr size_t kMaxBpeVocab = size_t{1} << 21;

// Merges from ranks: tokens in ascending order of rank, each of them one byte or the concatenation of two earlier ones,
// which are found by encoding it with the merges known so far. Throws Error for a token that is neither.
std::vector<BpeVocab::Merge> merges_from_ranks(std::span<const std::string> tokens);

// An open-addressing hash table from a pair of neighbours to the rank of their merge.
class MergeTable {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;

  explicit MergeTable(size_t capacity);

  void insert(int32_t left, int32_t right, uint32_t rank);  // at most capacity of them, rank < kMaxBpeVocab
  uint32_t find(int32_t left, int32_t right) const {        // kNone if they do not merge
    const uint64_t key = pack(left, right);
    for (size_t slot = hash(key);; ++slot) {
      const uint64_t entry = slots_[slot & mask_];
      if (entry >> kRankBits == key) return static_cast<uint32_t>(entry & (kMaxBpeVocab - 1));
      if (entry == kEmpty) return kNone;
    }
  }

 private:
  // One word an entry, 21 bits each: left, right, rank. The whole table of GPT-2 is one megabyte.
  static constexpr int kRankBits = 21;
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  static uint64_t pack(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kRankBits | static_cast<uint64_t>(right);
  }
  size_t hash(uint64_t key) const { return static_cast<size_t>((key * 0x9e3779b97f4a7c15ull) >> shift_); }

  std::vector<uint64_t> slots_;
  size_t mask_;
  int shift_;
};

class Bpe {
 public:
  // Throws Error if a byte has no token. vocab must outlive the object. Merges' ids must be in range.
  explicit Bpe(const BpeVocab& vocab);

  // Appends the ids of one piece, any bytes. O(n log n).
  void encode(std::string_view piece, std::vector<int32_t>& out) const;

 private:
  void add_whole_pieces();
  int32_t find_piece(std::string_view piece) const;  // -1 if it is no token, or not as a whole
  void merge(std::string_view piece, std::vector<int32_t>& out) const;

  const BpeVocab& vocab_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<int32_t> merged_;  // by rank
  MergeTable table_;

  // Tokens that a piece equal to them encodes to: an open-addressing table of ids.
  struct Slot {
    uint32_t tag;  // the hash's other half
    int32_t id;    // -1: empty
  };
  std::vector<Slot> pieces_;
  size_t longest_piece_ = 0;
};

}  // namespace ink
