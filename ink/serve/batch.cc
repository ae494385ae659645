#include "ink/serve/batch.h"

#include <algorithm>
#include <exception>

namespace ink {

namespace {

using Clock = std::chrono::steady_clock;

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

// A prompt waits for one that is being computed if so much of it would be computed twice.
constexpr int64_t kWorthWaiting = kPagePositions;

// Pages that a sequence may come to have. The last token that is drawn has no position.
int64_t most_pages(const SequenceRequest& r) {
  return KvCache::pages_for(static_cast<int64_t>(r.prompt.size()) + std::max<int64_t>(0, r.max_tokens - 1));
}

}  // namespace

Batch::Batch(const EngineOptions& options, std::shared_ptr<const ServedModel> model, EngineStats& counts)
    : options_(options), model_(std::move(model)), counts_(counts) {
  logits_.resize(static_cast<size_t>(options_.running * model_->loaded.model->config().vocab));
}

Join Batch::join(const QueuedSequence& next) {
  if (running() == options_.running) return Join::no_room;
  Source source = find_source(next.request);
  if (better_wait(next.request, source.length)) return Join::later;
  if (!make_room(next.request, source)) return Join::no_room;
  try {
    auto sequence = source.length > 0 ? std::make_unique<CachedSequence>(cache(), source.sequence, source.length)
                                      : std::make_unique<CachedSequence>(cache());
    running_.emplace_back(next, std::move(sequence), model_->vocab());
  } catch (const std::exception&) {  // no memory
    next.request.listener->finished(Finish::failed);
    return Join::done;
  }
  counts_.reused_tokens += source.length;
  return Join::done;
}

// Whether a running sequence is about to compute much of the same prompt. One that is rated token by token takes longer
// than it would save.
bool Batch::better_wait(const SequenceRequest& request, int64_t reused) const {
  if (request.prompt_logprobs) return false;
  return std::ranges::any_of(running_, [&](const Running& r) {
    const int64_t there = std::max(reused, length(r));
    return !r.request().prompt_logprobs && common_prefix(r.request().prompt, request.prompt) - there >= kWorthWaiting;
  });
}

Batch::Source Batch::find_source(const SequenceRequest& request) const {
  Source best;
  if (request.prompt_logprobs) return best;
  const auto wanted = std::span(request.prompt).first(request.prompt.size() - 1);  // one must be left
  for (const Running& r : running_) {
    const int64_t common = common_prefix(std::span(r.ids).first(static_cast<size_t>(length(r))), wanted);
    if (common > best.length) best = {r.cached->id(), common, nullptr};
  }
  for (const Recent& r : recent_) {
    const int64_t common = common_prefix(r.ids, wanted);
    if (common > best.length) best = {r.cached->id(), common, &r};
  }
  return best;
}

// Pages that are free and that no running sequence may come to need.
int64_t Batch::unclaimed_pages() const {
  int64_t pages = cache().free_pages();
  for (const Running& r : running_) pages -= most_pages(r.request()) - KvCache::pages_for(length(r));
  return pages;
}

// Lets go of recent sequences, the oldest first, until there is room; the source itself last, if there is no other way.
bool Batch::make_room(const SequenceRequest& request, Source& source) {
  while (true) {
    const int64_t shared = source.length / kPagePositions;
    if (most_pages(request) - shared <= unclaimed_pages()) return true;
    const auto oldest =
        std::find_if(recent_.rbegin(), recent_.rend(), [&](const Recent& r) { return &r != source.recent; });
    if (oldest != recent_.rend()) {
      recent_.erase(std::next(oldest).base());
    } else if (source.recent != nullptr) {
      source = {};
    } else {
      return false;
    }
  }
}

// Chooses what this step computes: every sequence's next token, and pieces of prompts.
void Batch::plan() {
  batch_.clear();
  tokens_.clear();
  const auto prompts = std::ranges::count_if(running_, [&](const Running& r) { return pending(r) > 1; });
  const bool alone = prompts == running();
  const int64_t budget = alone ? model_->loaded.model->options().rows : options_.prompt_tokens;
  const int64_t share = std::max<int64_t>(1, budget / std::max<int64_t>(1, prompts));
  for (Running& r : running_) {
    const int64_t some = std::min(pending(r), r.request().prompt_logprobs ? 1 : share);
    batch_.push_back(&r);
    tokens_.push_back(
        {r.cached->id(), std::span(r.ids).subspan(static_cast<size_t>(length(r)), static_cast<size_t>(some))});
  }
}

void Batch::compute() {
  Gpt2Inference& model = *model_->loaded.model;
  plan();
  const auto vocab = static_cast<size_t>(model.config().vocab);
  const auto known = static_cast<size_t>(model_->vocab());
  try {
    model.forward(tokens_, std::span(logits_).first(batch_.size() * vocab));
  } catch (const std::exception&) {
    for (Running& r : running_) r.failed = true;
    return;
  }
  model_->pool->run(static_cast<int64_t>(batch_.size()), [&](int64_t i) {
    const auto row = static_cast<size_t>(i);
    draw(*batch_[row], std::span(logits_).subspan(row * vocab, known));
  });
  count();
}

// The next token, if all that came before has been computed; or the logprobs of the prompt's next one.
void Batch::draw(Running& r, std::span<const float> row) const noexcept {
  const SequenceRequest& q = r.request();
  r.drawn = false;
  try {
    r.next = {};
    if (pending(r) > 0) {
      if (!q.prompt_logprobs) return;
      r.next.id = r.ids[static_cast<size_t>(length(r))];
    } else if (r.generated < q.max_tokens) {
      r.next.id = r.sampler.next(row, r.ids, q.prompt.size());
      r.drawn = true;
    } else {
      return;
    }
    if (q.logprobs >= 0) r.next.logprobs = logprobs(row, r.next.id, q.logprobs);
  } catch (const std::exception&) {
    r.failed = true;
  }
}

void Batch::count() {
  ++counts_.steps;
  for (size_t i = 0; i < batch_.size(); ++i) {
    const Running& r = *batch_[i];
    const bool prompt = r.generated == 0;
    if (prompt) counts_.prompt_tokens += static_cast<int64_t>(tokens_[i].ids.size());
    if (!r.drawn) continue;
    ++counts_.generated_tokens;
    const std::chrono::duration<double> since = Clock::now() - r.last_token;
    (prompt ? counts_.first_token : counts_.token).add(since.count());
  }
}

void Batch::deliver() {
  for (auto r = running_.begin(); r != running_.end();) {
    const auto here = r++;
    if (deliver(*here)) continue;
    if (here->failed) {
      finish(here, Finish::failed);
    } else {
      finish(here, here->generated == here->request().max_tokens && !here->drawn ? Finish::length : Finish::stop);
    }
  }
}

// False where the sequence ends: drawn then tells that this token ended it.
bool Batch::deliver(Running& r) {
  if (r.failed) return false;
  const SequenceRequest& q = r.request();
  try {
    if (!r.drawn) {
      if (pending(r) == 0) return false;  // no token is wanted
      if (q.prompt_logprobs) q.listener->prompt_token(r.next);
      return true;
    }
    if (q.stop_at_end_of_text && r.next.id == model_->loaded.tokenizer->end_of_text()) return false;
    r.ids.push_back(r.next.id);
    ++r.generated;
    r.last_token = Clock::now();
    if (!q.listener->token(r.next)) return false;
  } catch (const std::exception&) {
    r.failed = true;
    return false;
  }
  r.drawn = false;
  return r.generated < q.max_tokens;
}

void Batch::cancel(const std::set<uint64_t>& calls) {
  for (auto r = running_.begin(); r != running_.end();) {
    const auto here = r++;
    if (calls.contains(here->queued.call)) finish(here, Finish::cancelled);
  }
}

void Batch::cancel_all() {
  while (!running_.empty()) finish(running_.begin(), Finish::cancelled);
}

void Batch::finish(std::list<Running>::iterator r, Finish why) {
  if (!r->failed) keep(*r);
  const std::shared_ptr<TokenListener> listener = r->request().listener;
  running_.erase(r);
  listener->finished(why);
}

// The sequence becomes the latest of the recent ones. One that it begins with is of no more use.
void Batch::keep(Running& r) {
  r.ids.resize(static_cast<size_t>(length(r)));
  if (options_.recent == 0 || r.ids.empty()) return;
  const auto begins = [](const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
    return common_prefix(a, b) == static_cast<int64_t>(a.size());
  };
  std::erase_if(recent_, [&](const Recent& other) { return begins(other.ids, r.ids); });
  recent_.push_front({std::move(r.ids), std::move(r.cached)});
  if (static_cast<int64_t>(recent_.size()) > options_.recent) recent_.pop_back();
}

}  // namespace ink
