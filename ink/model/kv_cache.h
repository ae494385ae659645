// The keys and values that sequences have left behind, in pages (Kwon et al. 2023): a pool of them in device memory,
// and for every sequence a table of the pages that hold its positions. Sequences with the same beginning share its
// pages.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ink/model/config.h"
#include "ink/ops/ops.h"

namespace ink {

class KvCache {
 public:
  // Room for so many sequences at a time, of at most `context` positions each, in so many pages of kPagePositions
  // positions; 0 pages are as many as all sequences can fill. Allocates. ops must outlive the cache.
  KvCache(const Gpt2Config& config, int64_t context, int64_t sequences, int64_t pages, Ops& ops);

  // What the constructor allocates.
  static size_t bytes(const Gpt2Config& config, int64_t context, int64_t sequences, int64_t pages);

  int64_t context() const { return context_; }
  int64_t sequences() const { return static_cast<int64_t>(sequences_.size()); }
  int64_t pages() const { return static_cast<int64_t>(uses_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t free_sequences() const;

  // How many pages hold so many positions.
  static int64_t pages_for(int64_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

  // A new sequence without positions. Throws Error when as many as there can be are there.
  int32_t add();
  // A new sequence that begins with the first `length` positions of another. Pages that are full are shared; a page
  // that is not is copied. Throws Error as add and extend do.
  int32_t fork(int32_t sequence, int64_t length);
  void remove(int32_t sequence);

  int64_t length(int32_t sequence) const;
  // Makes room for `count` more positions, and counts them as there: the next forward pass fills them. Throws Error,
  // with nothing changed, beyond the context or when no page is free.
  void extend(int32_t sequence, int64_t count);
  // Forgets the positions from `length` on. Throws Error, with nothing changed, where the last page left is shared and
  // none is free to copy it to.
  void truncate(int32_t sequence, int64_t length);

  // One layer's pages, (pages,NH,HS,kPagePositions) and (pages,NH,kPagePositions,HS).
  const Tensor& k(int64_t layer) const { return k_[static_cast<size_t>(layer)]; }
  const Tensor& v(int64_t layer) const { return v_[static_cast<size_t>(layer)]; }
  // The table (sequences, pages of the longest) i32 on the device, as of the last change.
  const Tensor& table();

 private:
  struct Sequence {
    bool used = false;
    int64_t length = 0;
    std::vector<int32_t> pages;
  };

  Sequence& at(int32_t sequence);
  const Sequence& at(int32_t sequence) const;
  int32_t take_page();
  int32_t copy_page(int32_t page);  // takes one
  void release_page(int32_t page);

  Ops& ops_;
  int64_t context_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> uses_;  // how many sequences have a page
  std::vector<int32_t> free_;  // the next one to take last
  std::unique_ptr<Buffer> memory_;
  std::vector<Tensor> k_, v_;
  Tensor table_;
  std::vector<int32_t> host_table_;
  bool table_changed_ = true;
};

// A sequence of a cache for as long as the object lives.
class CachedSequence {
 public:
  explicit CachedSequence(KvCache& cache) : cache_(cache), id_(cache.add()) {}
  // One that begins with the first `length` positions of another.
  CachedSequence(KvCache& cache, int32_t other, int64_t length) : cache_(cache), id_(cache.fork(other, length)) {}
  ~CachedSequence() { cache_.remove(id_); }
  CachedSequence(const CachedSequence&) = delete;
  CachedSequence& operator=(const CachedSequence&) = delete;

  int32_t id() const { return id_; }

 private:
  KvCache& cache_;
  int32_t id_;
};

}  // namespace ink
