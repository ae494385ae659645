// The sequences of one model that are computed together, and those that are kept after their end.
//
// Each step is one forward pass: the next token of every sequence that generates, and pieces of the prompts of those
// that have just joined, so small that the others hardly wait. A new sequence begins with the keys and values of the
// one here that its prompt has most in common with. It joins when the pages are free that it may come to need, so that
// nobody is ever thrown out.
//
// The engine's thread alone uses it.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "ink/serve/engine.h"

namespace ink {

// A sequence on its way into a batch.
struct QueuedSequence {
  uint64_t call = 0;
  SequenceRequest request;
  std::chrono::steady_clock::time_point since;
};

// What came of a sequence that wanted to join.
enum class Join : uint8_t {
  done,     // it is in, or has failed
  later,    // a running sequence is about to compute much of its prompt: then it need not
  no_room,  // all places are taken, or the pages that it may need
};

class Batch {
 public:
  // Adds what it does to counts, which must outlive it.
  Batch(const EngineOptions& options, std::shared_ptr<const ServedModel> model, EngineStats& counts);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  const std::shared_ptr<const ServedModel>& model() const { return model_; }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t recent() const { return static_cast<int64_t>(recent_.size()); }
  KvCache& cache() const { return model_->loaded.model->cache(); }

  Join join(const QueuedSequence& next);
  // The forward pass, and what it gives each sequence. Some must be running.
  void compute();
  // Tells the listeners, and ends the sequences that have come to their end.
  void deliver();
  // Ends the sequences of these calls, or all.
  void cancel(const std::set<uint64_t>& calls);
  void cancel_all();

 private:
  struct Running {
    Running(const QueuedSequence& q, std::unique_ptr<CachedSequence> c, int64_t vocab)
        : queued(q),
          ids(q.request.prompt),
          cached(std::move(c)),
          sampler(q.request.sampler, vocab),
          last_token(q.since) {}

    const SequenceRequest& request() const { return queued.request; }

    QueuedSequence queued;
    std::vector<int32_t> ids;                // the prompt and what came since
    std::unique_ptr<CachedSequence> cached;  // of the first of them
    Sampler sampler;
    int64_t generated = 0;
    std::chrono::steady_clock::time_point last_token;
    // Of this step:
    bool drawn = false, failed = false;
    GeneratedToken next;
  };
  // A sequence that has ended, and the tokens of its positions.
  struct Recent {
    std::vector<int32_t> ids;
    std::unique_ptr<CachedSequence> cached;
  };
  // Where a new sequence gets its first positions from.
  struct Source {
    int32_t sequence = -1;
    int64_t length = 0;
    const Recent* recent = nullptr;  // unless it is a running one
  };

  int64_t length(const Running& r) const { return cache().length(r.cached->id()); }
  int64_t pending(const Running& r) const { return static_cast<int64_t>(r.ids.size()) - length(r); }

  bool better_wait(const SequenceRequest& request, int64_t reused) const;
  Source find_source(const SequenceRequest& request) const;
  bool make_room(const SequenceRequest& request, Source& source);
  int64_t unclaimed_pages() const;

  void plan();
  void draw(Running& r, std::span<const float> row) const noexcept;
  void count();
  bool deliver(Running& r);
  void fail_all();
  void finish(std::list<Running>::iterator r, Finish why);
  void keep(Running& r);

  const EngineOptions options_;
  const std::shared_ptr<const ServedModel> model_;
  EngineStats& counts_;
  std::list<Running> running_;
  std::list<Recent> recent_;  // the latest first
  // Of this step:
  std::vector<Running*> batch_;
  std::vector<Gpt2Inference::Tokens> tokens_;
  std::vector<float> logits_;
};

}  // namespace ink
