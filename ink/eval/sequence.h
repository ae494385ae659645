// A sequence of a key-value cache for as long as the object lives.
#pragma once

#include "ink/model/kv_cache.h"

namespace ink {

class Sequence {
 public:
  explicit Sequence(KvCache& cache) : cache_(cache), id_(cache.add()) {}
  // One that begins with the first `length` positions of another.
  Sequence(KvCache& cache, int32_t other, int64_t length) : cache_(cache), id_(cache.fork(other, length)) {}
  ~Sequence() { cache_.remove(id_); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  int32_t id() const { return id_; }

 private:
  KvCache& cache_;
  int32_t id_;
};

}  // namespace ink
