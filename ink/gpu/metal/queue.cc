#include "ink/gpu/metal/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "ink/base/check.h"

namespace ink::metal {

namespace {

constexpr size_t kMostCommands = 64;  // of a batch: the GPU computes while the CPU writes the next
constexpr size_t kMostBatches = 16;   // that run; Metal has 64, and lets the CPU wait for more

// Each name once, in the order they came.
std::string names_of(const std::vector<std::string_view>& batch) {
  std::vector<std::string_view> names;
  std::ranges::copy_if(batch, std::back_inserter(names),
                       [&](std::string_view name) { return std::ranges::find(names, name) == names.end(); });
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

void Queue::added(std::string_view what) {
  open_.push_back(what);
  if (open_.size() >= kMostCommands) commit();
  if (running_.size() > kMostBatches) wait_for_oldest();
}

void Queue::commit() {
  if (open_.empty()) return;
  calls_.commit();
  running_.push_back(std::exchange(open_, {}));
}

void Queue::wait_for_oldest() {
  const Batch batch = std::move(running_.front());
  running_.pop_front();
  const std::string failure = calls_.wait();
  check(failure.empty(), "metal: {}; the GPU was at {} commands: {}", failure, batch.size(), names_of(batch));
}

void Queue::wait() {
  commit();
  while (!running_.empty()) wait_for_oldest();
}

}  // namespace ink::metal
