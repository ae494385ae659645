#include "ink/model/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

#include "ink/base/check.h"
#include "ink/tensor/plan.h"

namespace ink {

namespace {

int64_t pool_size(int64_t context, int64_t sequences, int64_t pages) {
  return pages > 0 ? pages : sequences * KvCache::pages_for(context);
}

void plan_cache(Plan& plan, const Gpt2Config& config, int64_t context, int64_t sequences, int64_t pages,
                std::vector<Tensor>& k, std::vector<Tensor>& v, Tensor& table) {
  k.resize(static_cast<size_t>(config.layers));
  v.resize(k.size());
  for (size_t l = 0; l < k.size(); ++l) {
    plan.add(&k[l], "kv_cache", "k", DType::f32, {pages, config.heads, config.head_size(), kPagePositions});
    plan.add(&v[l], "kv_cache", "v", DType::f32, {pages, config.heads, kPagePositions, config.head_size()});
  }
  plan.add(&table, "kv_cache", "table", DType::i32, {sequences, KvCache::pages_for(context)});
}

}  // namespace

size_t KvCache::bytes(const Gpt2Config& config, int64_t context, int64_t sequences, int64_t pages) {
  Plan plan;
  std::vector<Tensor> k, v;
  Tensor table;
  plan_cache(plan, config, context, sequences, pool_size(context, sequences, pages), k, v, table);
  return plan.bytes();
}

KvCache::KvCache(const Gpt2Config& config, int64_t context, int64_t sequences, int64_t pages, Ops& ops)
    : ops_(ops), context_(context) {
  assert(context >= 1 && context <= config.context && sequences >= 1);
  const int64_t pool = pool_size(context, sequences, pages);
  sequences_.resize(static_cast<size_t>(sequences));
  for (Sequence& s : sequences_) s.pages.reserve(static_cast<size_t>(pages_for(context)));
  uses_.assign(static_cast<size_t>(pool), 0);
  free_.resize(uses_.size());
  std::iota(free_.rbegin(), free_.rend(), 0);

  Plan plan;
  plan_cache(plan, config, context, sequences, pool, k_, v_, table_);
  memory_ = ops.allocate(plan.bytes());
  plan.bind(memory_->data());
  host_table_.assign(static_cast<size_t>(table_.numel()), 0);
}

int64_t KvCache::free_sequences() const {
  return std::ranges::count_if(sequences_, [](const Sequence& s) { return !s.used; });
}

KvCache::Sequence& KvCache::at(int32_t sequence) {
  assert(sequence >= 0 && sequence < sequences() && sequences_[static_cast<size_t>(sequence)].used);
  return sequences_[static_cast<size_t>(sequence)];
}

const KvCache::Sequence& KvCache::at(int32_t sequence) const {
  assert(sequence >= 0 && sequence < sequences() && sequences_[static_cast<size_t>(sequence)].used);
  return sequences_[static_cast<size_t>(sequence)];
}

int32_t KvCache::take_page() {
  const int32_t page = free_.back();
  free_.pop_back();
  uses_[static_cast<size_t>(page)] = 1;
  return page;
}

int32_t KvCache::copy_page(int32_t page) {
  const int32_t copy = take_page();
  for (size_t l = 0; l < k_.size(); ++l) {
    for (const Tensor& pool : {k_[l], v_[l]}) {
      const int64_t rows = pool.shape[1] * pool.shape[2];
      ops_.copy(pool.slice_rows(copy * rows, rows), pool.slice_rows(page * rows, rows));
    }
  }
  return copy;
}

void KvCache::release_page(int32_t page) {
  if (--uses_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

int32_t KvCache::add() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].used) continue;
    sequences_[i].used = true;
    return static_cast<int32_t>(i);
  }
  fail("the key-value cache has room for {} sequences, all of them in use", sequences());
}

int32_t KvCache::fork(int32_t sequence, int64_t length) {
  assert(length <= this->length(sequence));
  const bool partial = length % kPagePositions != 0;
  check(!partial || !free_.empty(), "the key-value cache has no free page; all {} are in use", pages());
  const int32_t copy = add();
  Sequence& to = at(copy);
  const Sequence& from = at(sequence);
  to.length = length;
  to.pages.assign(from.pages.begin(), from.pages.begin() + length / kPagePositions);
  for (const int32_t page : to.pages) ++uses_[static_cast<size_t>(page)];
  if (partial) to.pages.push_back(copy_page(from.pages[to.pages.size()]));
  table_changed_ = true;
  return copy;
}

void KvCache::remove(int32_t sequence) {
  Sequence& s = at(sequence);
  for (const int32_t page : s.pages) release_page(page);
  s.pages.clear();  // their room stays
  s.length = 0;
  s.used = false;
}

int64_t KvCache::length(int32_t sequence) const { return at(sequence).length; }

void KvCache::extend(int32_t sequence, int64_t count) {
  Sequence& s = at(sequence);
  check(count <= context_ - s.length, "{} tokens after {} do not fit a context of {}", count, s.length, context_);
  const int64_t more = pages_for(s.length + count) - static_cast<int64_t>(s.pages.size());
  check(more <= free_pages(), "the key-value cache has {} free pages, {} are wanted", free_pages(), more);
  for (int64_t i = 0; i < more; ++i) s.pages.push_back(take_page());
  s.length += count;
  table_changed_ = table_changed_ || more > 0;
}

void KvCache::truncate(int32_t sequence, int64_t length) {
  Sequence& s = at(sequence);
  assert(length >= 0 && length <= s.length);
  const auto left = static_cast<size_t>(pages_for(length));
  // The positions after the end will be written to, which others that share the page must not see.
  if (length % kPagePositions != 0 && uses_[static_cast<size_t>(s.pages[left - 1])] > 1) {
    check(!free_.empty(), "the key-value cache has no free page; all {} are in use", pages());
    const int32_t copy = copy_page(s.pages[left - 1]);
    release_page(std::exchange(s.pages[left - 1], copy));
    table_changed_ = true;
  }
  for (; s.pages.size() > left; s.pages.pop_back()) release_page(s.pages.back());
  s.length = length;
}

const Tensor& KvCache::table() {
  if (!table_changed_) return table_;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const std::vector<int32_t>& pages = sequences_[i].pages;
    std::copy(pages.begin(), pages.end(), host_table_.begin() + static_cast<int64_t>(i) * table_.cols());
  }
  ops_.upload(table_, host_table_.data());
  table_changed_ = false;
  return table_;
}

}  // namespace ink
