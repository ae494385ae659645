// What was asked of Metal and is not done yet: batches of commands, the last of them still open. The GPU begins with a
// batch when it is committed, so long steps are several.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "ink/gpu/metal/calls.h"

namespace ink::metal {

class Queue {
 public:
  explicit Queue(Calls& calls) : calls_(calls) {}

  // To be told of every command once it is in the open batch. what is a name that stays.
  void added(std::string_view what);
  bool busy() const { return !open_.empty() || !running_.empty(); }
  // Until all is done. Throws Error with Metal's words and the names of the commands, if any has failed.
  void wait();

 private:
  using Batch = std::vector<std::string_view>;

  void commit();
  void wait_for_oldest();

  Calls& calls_;
  Batch open_;
  std::deque<Batch> running_;
};

}  // namespace ink::metal
