#include "ink/serve/engine.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>

#include "ink/serve/batch.h"

namespace ink {

namespace {

using Clock = std::chrono::steady_clock;

struct Waiting {
  std::shared_ptr<const ServedModel> model;
  QueuedSequence queued;
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
  EngineStats counts;
  std::unique_ptr<Batch> batch;
  std::thread thread;

  Impl(const EngineOptions& o, Load l) : options(o), load(std::move(l)) {}

  void load_newest();
  void run();
  bool wait_for_work();
  void drop_cancelled();
  void reload_if_wanted();
  void admit();
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
                             Waiting{model, {call, std::move(s), now}});
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
  batch = std::make_unique<Batch>(options, newest, counts);
  while (wait_for_work()) {
    drop_cancelled();
    reload_if_wanted();
    admit();
    if (batch->running() > 0) {
      batch->compute();
      publish();  // who is told of a token finds it counted
      batch->deliver();
    }
    publish();
  }
  batch->cancel_all();
  batch.reset();
  const std::lock_guard lock(mutex);
  for (auto& [place, w] : waiting) w.queued.request.listener->finished(Finish::cancelled);
  waiting.clear();
}

bool Engine::Impl::wait_for_work() {
  std::unique_lock lock(mutex);
  wake.wait(lock,
            [&] { return stop || batch->running() > 0 || !waiting.empty() || !cancelled.empty() || !reloads.empty(); });
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
      if (ended.contains(w->second.queued.call)) {
        dropped.push_back(std::move(w->second));
        w = waiting.erase(w);
      } else {
        ++w;
      }
    }
  }
  for (const Waiting& w : dropped) w.queued.request.listener->finished(Finish::cancelled);
  batch->cancel(ended);
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
    ++counts.reloads;
    publish();
  } catch (const std::exception& e) {
    error = e.what();
  }
  if (done) done(error);
}

// Lets in who is next, as long as there is room. Who waits for room is not overtaken: who needs much would wait for
// ever.
void Engine::Impl::admit() {
  std::unique_lock lock(mutex);
  for (auto w = waiting.begin(); w != waiting.end();) {
    const Waiting& next = w->second;
    lock.unlock();  // others only add to the map
    if (next.model != batch->model()) {
      if (batch->running() > 0) return;
      batch = std::make_unique<Batch>(options, next.model, counts);
    }
    const Join join = batch->join(next.queued);
    if (join == Join::no_room) return;
    if (join == Join::done) {
      counts.queued.add(std::chrono::duration<double>(Clock::now() - next.queued.since).count());
      ++counts.sequences;
    }
    lock.lock();
    if (join == Join::later) {
      ++w;
    } else {
      turn = std::max(turn, std::get<1>(w->first));
      w = waiting.erase(w);
    }
  }
}

void Engine::Impl::publish() {
  counts.running = batch->running();
  counts.recent = batch->recent();
  counts.pages = batch->cache().pages();
  counts.free_pages = batch->cache().free_pages();
  const std::lock_guard lock(mutex);
  stats = counts;
}

}  // namespace ink
