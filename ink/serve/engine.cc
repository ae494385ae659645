#include "ink/serve/engine.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>

namespace ink {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

// A prompt waits for one that is being computed if so much of it would be computed twice.
constexpr int64_t kWorthWaiting = kPagePositions;

struct Waiting {
  uint64_t call = 0;
  std::shared_ptr<const ServedModel> model;
  SequenceRequest request;
  Clock::time_point since;
};

struct Running {
  Running(Waiting w, std::unique_ptr<CachedSequence> c)
      : waited(std::move(w)),
        ids(waited.request.prompt),
        cached(std::move(c)),
        sampler(waited.request.sampler, waited.model->vocab()) {}

  Waiting waited;
  std::vector<int32_t> ids;                // the prompt and what came since
  std::unique_ptr<CachedSequence> cached;  // of the first of them
  Sampler sampler;
  int64_t generated = 0;
  Clock::time_point last_token;
  // Of this step:
  bool drawn = false, failed = false;
  GeneratedToken next;

  const SequenceRequest& request() const { return waited.request; }
  KvCache& cache() const { return waited.model->loaded.model->cache(); }
  int64_t length() const { return cache().length(cached->id()); }
  int64_t pending() const { return static_cast<int64_t>(ids.size()) - length(); }
  // Pages it may come to have. The last token that is drawn has no position.
  static int64_t most_pages(const SequenceRequest& r) {
    return KvCache::pages_for(static_cast<int64_t>(r.prompt.size()) + std::max<int64_t>(0, r.max_tokens - 1));
  }
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

}  // namespace

struct Engine::Impl {
  // The model's number (older ones first), the turn, the arrival.
  using Place = std::tuple<int64_t, int64_t, uint64_t>;

  const EngineOptions options;
  const Load load;

  mutable std::mutex mutex;  // of all down to the empty line
  std::condition_variable wake;
  std::shared_ptr<const ServedModel> newest;
  std::map<Place, Waiting> waiting;
  int64_t turn = 0;  // of the sequence that joined last
  uint64_t arrivals = 0, calls = 0;
  std::set<uint64_t> cancelled;
  std::deque<std::function<void(const std::string&)>> reloads;
  EngineStats stats;
  bool stop = false;

  // The thread's own.
  std::shared_ptr<const ServedModel> current;
  std::list<Running> running;
  std::list<Recent> recent;  // the latest first
  std::vector<Running*> batch;
  std::vector<Gpt2Inference::Tokens> tokens;
  std::vector<float> logits;
  std::thread thread;

  Impl(const EngineOptions& o, Load l) : options(o), load(std::move(l)) {}

  Gpt2Inference& model() const { return *current->loaded.model; }
  KvCache& cache() const { return model().cache(); }

  void load_newest();
  void run();
  bool wait_for_work();
  void drop_cancelled();
  void reload_if_wanted();
  void admit();
  bool admit(const Waiting& next);
  bool better_wait(const SequenceRequest& request, int64_t reused) const;
  Source find_source(const SequenceRequest& request) const;
  bool make_room(const SequenceRequest& request, Source& source);
  int64_t unclaimed_pages() const;
  void switch_to(const std::shared_ptr<const ServedModel>& next);
  void step();
  void plan_step();
  void draw(Running& r, std::span<const float> row) const noexcept;
  bool deliver(Running& r);
  void fail_batch();
  void finish(std::list<Running>::iterator r, Finish why);
  void keep(Running& r);
  void publish();
};

InferenceOptions Engine::inference_options(const EngineOptions& options, int64_t context) {
  // Recent sequences have what the running ones leave.
  const int64_t pages = options.running * KvCache::pages_for(context);
  return {.context = context, .sequences = options.running + options.recent, .pages = pages, .rows = 128};
}

Engine::Engine(const EngineOptions& options, Load load) : impl_(std::make_unique<Impl>(options, std::move(load))) {
  std::promise<void> loaded;
  std::future<void> done = loaded.get_future();
  impl_->thread = std::thread([&impl = *impl_, promise = std::move(loaded)]() mutable {
    try {
      impl.load_newest();
    } catch (...) {
      promise.set_exception(std::current_exception());
      return;
    }
    promise.set_value();
    impl.run();
  });
  try {
    done.get();
  } catch (...) {
    impl_->thread.join();
    throw;
  }
}

Engine::~Engine() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_one();
  impl_->thread.join();
}

std::shared_ptr<const ServedModel> Engine::model() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->newest;
}

uint64_t Engine::submit(const std::shared_ptr<const ServedModel>& model, std::vector<SequenceRequest> sequences) {
  for (const SequenceRequest& s : sequences) {
    s.sampler.validate();
    assert(!s.prompt.empty() && static_cast<int64_t>(s.prompt.size()) + s.max_tokens <= model->context());
  }
  const Clock::time_point now = Clock::now();
  uint64_t call = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto queued = static_cast<int64_t>(impl_->waiting.size() + sequences.size());
    if (queued > impl_->options.queue) {
      throw QueueFull(fmt::format("{} texts are waiting, {} more do not fit a queue of {}", impl_->waiting.size(),
                                  sequences.size(), impl_->options.queue));
    }
    call = ++impl_->calls;
    // A call's first sequence comes next, its others each after a sequence of everybody else.
    int64_t turn = impl_->turn;
    for (SequenceRequest& s : sequences) {
      impl_->waiting.emplace(Impl::Place(model->number, turn++, impl_->arrivals++),
                             Waiting{call, model, std::move(s), now});
    }
  }
  impl_->wake.notify_one();
  return call;
}

void Engine::cancel(uint64_t call) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->cancelled.insert(call);
  }
  impl_->wake.notify_one();
}

void Engine::reload(std::function<void(const std::string& error)> done) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->reloads.push_back(std::move(done));
  }
  impl_->wake.notify_one();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(impl_->mutex);
  EngineStats stats = impl_->stats;
  stats.waiting = static_cast<int64_t>(impl_->waiting.size());
  return stats;
}

void Engine::Impl::load_newest() {
  std::shared_ptr<ServedModel> loaded = load();
  const std::lock_guard lock(mutex);
  loaded->number = newest == nullptr ? 0 : newest->number + 1;
  newest = loaded;
}

void Engine::Impl::run() {
  switch_to(newest);
  while (wait_for_work()) {
    drop_cancelled();
    reload_if_wanted();
    admit();
    if (!running.empty()) step();
    publish();
  }
  while (!running.empty()) finish(running.begin(), Finish::cancelled);
  recent.clear();
  const std::lock_guard lock(mutex);
  for (auto& [place, w] : waiting) w.request.listener->finished(Finish::cancelled);
  waiting.clear();
}

bool Engine::Impl::wait_for_work() {
  std::unique_lock lock(mutex);
  wake.wait(lock,
            [&] { return stop || !running.empty() || !waiting.empty() || !cancelled.empty() || !reloads.empty(); });
  return !stop;
}

void Engine::Impl::drop_cancelled() {
  std::set<uint64_t> ended;
  std::vector<Waiting> dropped;
  {
    const std::lock_guard lock(mutex);
    if (cancelled.empty()) return;
    ended.swap(cancelled);
    for (auto w = waiting.begin(); w != waiting.end();) {
      if (ended.contains(w->second.call)) {
        dropped.push_back(std::move(w->second));
        w = waiting.erase(w);
      } else {
        ++w;
      }
    }
  }
  for (const Waiting& w : dropped) w.request.listener->finished(Finish::cancelled);
  for (auto r = running.begin(); r != running.end();) {
    const auto here = r++;
    if (ended.contains(here->waited.call)) finish(here, Finish::cancelled);
  }
}

void Engine::Impl::reload_if_wanted() {
  std::function<void(const std::string&)> done;
  {
    const std::lock_guard lock(mutex);
    if (reloads.empty()) return;
    done = std::move(reloads.front());
    reloads.pop_front();
  }
  std::string error;
  try {
    load_newest();
    const std::lock_guard lock(mutex);
    ++stats.reloads;
  } catch (const std::exception& e) {
    error = e.what();
  }
  if (done) done(error);
}

// Lets in who is next, as long as there is room. Nobody overtakes: who needs much room would wait for ever.
void Engine::Impl::admit() {
  while (static_cast<int64_t>(running.size()) < options.running) {
    const Waiting* next = nullptr;
    {
      const std::lock_guard lock(mutex);
      if (waiting.empty()) return;
      next = &waiting.begin()->second;  // only this thread takes from the map
    }
    if (next->model != current) {
      if (!running.empty()) return;
      switch_to(next->model);
    }
    if (!admit(*next)) return;
    const std::lock_guard lock(mutex);
    const auto first = std::ranges::find_if(waiting, [&](const auto& w) { return &w.second == next; });
    turn = std::max(turn, std::get<1>(first->first));
    stats.queued.add(seconds_since(next->since));
    ++stats.sequences;
    waiting.erase(first);
  }
}

bool Engine::Impl::admit(const Waiting& next) {
  Source source = find_source(next.request);
  if (better_wait(next.request, source.length) || !make_room(next.request, source)) return false;
  auto sequence = source.length > 0 ? std::make_unique<CachedSequence>(cache(), source.sequence, source.length)
                                    : std::make_unique<CachedSequence>(cache());
  try {
    running.emplace_back(next, std::move(sequence));
  } catch (const std::exception&) {  // no memory
    next.request.listener->finished(Finish::failed);
    return true;
  }
  running.back().last_token = next.since;
  const std::lock_guard lock(mutex);
  stats.reused_tokens += source.length;
  return true;
}

// Whether a running sequence is about to compute much of the same prompt.
bool Engine::Impl::better_wait(const SequenceRequest& request, int64_t reused) const {
  if (request.prompt_logprobs) return false;
  return std::ranges::any_of(running, [&](const Running& r) {
    return common_prefix(r.request().prompt, request.prompt) - std::max(reused, r.length()) >= kWorthWaiting;
  });
}

Source Engine::Impl::find_source(const SequenceRequest& request) const {
  Source best;
  if (request.prompt_logprobs) return best;
  const std::span<const int32_t> wanted =
      std::span(request.prompt).first(request.prompt.size() - 1);  // one must be left
  for (const Running& r : running) {
    const int64_t length = common_prefix(std::span(r.ids).first(static_cast<size_t>(r.length())), wanted);
    if (length > best.length) best = {r.cached->id(), length, nullptr};
  }
  for (const Recent& r : recent) {
    const int64_t length = common_prefix(r.ids, wanted);
    if (length > best.length) best = {r.cached->id(), length, &r};
  }
  return best;
}

// Pages that are free and that no running sequence may come to need.
int64_t Engine::Impl::unclaimed_pages() const {
  int64_t pages = cache().free_pages();
  for (const Running& r : running) pages -= Running::most_pages(r.request()) - KvCache::pages_for(r.length());
  return pages;
}

// Lets go of recent sequences, the oldest first, until there is room; the source itself last, if there is no other way.
bool Engine::Impl::make_room(const SequenceRequest& request, Source& source) {
  while (true) {
    const int64_t shared = source.length / kPagePositions;
    if (Running::most_pages(request) - shared <= unclaimed_pages()) return true;
    const auto oldest =
        std::find_if(recent.rbegin(), recent.rend(), [&](const Recent& r) { return &r != source.recent; });
    if (oldest != recent.rend()) {
      recent.erase(std::next(oldest).base());
    } else if (source.recent != nullptr) {
      source = {};
    } else {
      return false;
    }
  }
}

void Engine::Impl::switch_to(const std::shared_ptr<const ServedModel>& next) {
  recent.clear();
  current = next;
  const auto rows = static_cast<size_t>(options.running);
  logits.resize(rows * static_cast<size_t>(model().config().vocab));
}

// Chooses what this step computes: every sequence's next token, and pieces of prompts.
void Engine::Impl::plan_step() {
  batch.clear();
  tokens.clear();
  const auto prompts = std::ranges::count_if(running, [](const Running& r) { return r.pending() > 1; });
  const bool alone = prompts == static_cast<int64_t>(running.size());
  const int64_t budget = alone ? model().options().rows : options.prompt_tokens;
  const int64_t share = std::max<int64_t>(1, budget / std::max<int64_t>(1, prompts));
  for (Running& r : running) {
    const int64_t count = std::min(r.pending(), r.request().prompt_logprobs ? 1 : share);
    batch.push_back(&r);
    tokens.push_back(
        {r.cached->id(), std::span(r.ids).subspan(static_cast<size_t>(r.length()), static_cast<size_t>(count))});
  }
}

// One forward pass, and what it gives to the listeners.
void Engine::Impl::step() {
  plan_step();
  const auto vocab = static_cast<size_t>(model().config().vocab);
  const auto known = static_cast<size_t>(current->vocab());
  try {
    model().forward(tokens, std::span(logits).first(batch.size() * vocab));
  } catch (const std::exception&) {
    return fail_batch();
  }
  current->pool->run(static_cast<int64_t>(batch.size()), [&](int64_t i) {
    const auto row = static_cast<size_t>(i);
    draw(*batch[row], std::span(logits).subspan(row * vocab, known));
  });
  {
    const std::lock_guard lock(mutex);
    ++stats.steps;
    for (size_t i = 0; i < batch.size(); ++i) {
      const Running& r = *batch[i];
      const bool prompt = r.generated == 0;
      stats.prompt_tokens += prompt ? static_cast<int64_t>(tokens[i].ids.size()) : 0;
      if (r.pending() > 0 || r.generated == r.request().max_tokens) continue;
      ++stats.generated_tokens;
      (prompt ? stats.first_token : stats.token).add(seconds_since(r.last_token));
    }
  }
  for (auto r = running.begin(); r != running.end();) {
    const auto here = r++;
    if (deliver(*here)) continue;
    if (here->failed) {
      finish(here, Finish::failed);
    } else {
      finish(here, here->generated == here->request().max_tokens && !here->drawn ? Finish::length : Finish::stop);
    }
  }
}

// The next token, if all that came before has been computed; or the logprobs of the prompt's next one.
void Engine::Impl::draw(Running& r, std::span<const float> row) const noexcept {
  const SequenceRequest& q = r.request();
  r.drawn = false;
  try {
    r.next = {};
    if (r.pending() > 0) {
      if (!q.prompt_logprobs) return;
      r.next.id = r.ids[static_cast<size_t>(r.length())];
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

// False where the sequence ends: drawn then tells that this token ended it.
bool Engine::Impl::deliver(Running& r) {
  if (r.failed) return false;
  const SequenceRequest& q = r.request();
  try {
    if (!r.drawn) {
      if (r.pending() == 0) return false;  // no token is wanted
      if (q.prompt_logprobs) q.listener->prompt_token(r.next);
      return true;
    }
    if (q.stop_at_end_of_text && r.next.id == current->loaded.tokenizer->end_of_text()) return false;
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

void Engine::Impl::fail_batch() {
  while (!running.empty()) {
    running.front().failed = true;
    finish(running.begin(), Finish::failed);
  }
}

void Engine::Impl::finish(std::list<Running>::iterator r, Finish why) {
  if (!r->failed) keep(*r);
  const std::shared_ptr<TokenListener> listener = r->request().listener;
  running.erase(r);
  listener->finished(why);
}

// The sequence becomes the latest of the recent ones. One that it begins with is of no more use.
void Engine::Impl::keep(Running& r) {
  r.ids.resize(static_cast<size_t>(r.length()));
  if (options.recent == 0 || r.ids.empty()) return;
  const auto begins = [](const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
    return common_prefix(a, b) == static_cast<int64_t>(a.size());
  };
  std::erase_if(recent, [&](const Recent& other) { return begins(other.ids, r.ids); });
  recent.push_front({std::move(r.ids), std::move(r.cached)});
  if (static_cast<int64_t>(recent.size()) > options.recent) recent.pop_back();
}

void Engine::Impl::publish() {
  const std::lock_guard lock(mutex);
  stats.running = static_cast<int64_t>(running.size());
  stats.recent = static_cast<int64_t>(recent.size());
  stats.pages = cache().pages();
  stats.free_pages = cache().free_pages();
}

}  // namespace ink
