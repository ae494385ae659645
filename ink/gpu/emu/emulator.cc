#include "ink/gpu/emu/emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "ink/gpu/emu/fiber.h"

namespace ink::emu {

namespace {

// What a thread did wrong. Thrown and caught within its fiber.
struct Fault {
  std::string what;
};

enum class State : uint8_t { ready, barrier, shuffle, done, failed };

struct Thread {
  Fiber fiber;
  State state = State::done;
  int index = 0;
  const char* file = "";  // where it waits
  int line = 0;
  float value = 0;  // that it gives to a shuffle, then gets from it
  int mask = 0;
  std::string fault;
};

struct SharedArray {
  int line;
  std::byte* data;
  size_t bytes;
};

struct Block {
  const Task* task = nullptr;
  Place place;
  Thread* thread = nullptr;  // that runs
  std::vector<SharedArray> arrays;
  std::vector<std::byte> shared;
  size_t shared_used = 0;
};

// Kernels are plain functions: what they ask is asked of the block that this system thread runs.
thread_local Block* running = nullptr;

constexpr size_t kSharedLimit = size_t{32} << 10;  // Metal's, the smallest of all

void wait(State state, const char* file, int line) {
  Thread& thread = *running->thread;
  thread.state = state;
  thread.file = file;
  thread.line = line;
  thread.fiber.yield();
}

const char* base_name(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

}  // namespace

const Place& place() { return running->place; }

void barrier(const char* file, int line) { wait(State::barrier, file, line); }

float shuffle_xor(float x, int mask, const char* file, int line) {
  if (mask <= 0 || mask >= gpu::kSimd) throw Fault{fmt::format("shuffles by {}, which is not in 1 to 31", mask)};
  running->thread->value = x;
  running->thread->mask = mask;
  wait(State::shuffle, file, line);
  return running->thread->value;
}

std::byte* shared_bytes(size_t bytes, size_t alignment, int line) {
  Block& block = *running;
  for (const SharedArray& array : block.arrays) {
    if (array.line == line && array.bytes == bytes) return array.data;
  }
  const size_t begin = (block.shared_used + alignment - 1) / alignment * alignment;
  if (begin + bytes > kSharedLimit) {
    throw Fault{fmt::format("asks for {} bytes of shared memory; {} is the most that every GPU has", begin + bytes,
                            kSharedLimit)};
  }
  std::byte* data = block.shared.data() + begin;
  std::memset(data, 0xff, bytes);
  block.shared_used = begin + bytes;
  block.arrays.push_back({line, data, bytes});
  return data;
}

namespace {

std::string buffer_name(int buffer) { return buffer == kShared ? "shared memory" : fmt::format("buffer {}", buffer); }

}  // namespace

void fail_bounds(int64_t index, int64_t size, int buffer) {
  throw Fault{fmt::format("element {} of {}, which has {}", index, buffer_name(buffer), size)};
}

void fail_alignment(int64_t index, size_t bytes, int buffer) {
  throw Fault{fmt::format("a vector of {} bytes at element {} of {}, which is not a multiple of them", bytes, index,
                          buffer_name(buffer))};
}

struct Emulator::Impl {
  Order order;
  std::mt19937 random;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<int> turn;  // the order of threads in a pass
  Block block;

  void run_block();
  void start_threads();
  bool pass();
  bool meet_in_shuffles();
  bool meet_at_barrier();
  void expect_to_meet(std::span<const std::unique_ptr<Thread>> group, State state) const;
  void put_in_order(std::vector<int>& items);
  [[noreturn]] void fail(const Thread& thread, const std::string& what) const;
};

void Emulator::Impl::fail(const Thread& thread, const std::string& what) const {
  const Place& p = block.place;
  check(false, "kernel {}, block ({}, {}, {}), thread {}: {}", block.task->kernel, p.x, p.y, p.z, thread.index, what);
  std::abort();
}

void Emulator::Impl::put_in_order(std::vector<int>& items) {
  if (order == Order::reversed) std::ranges::reverse(items);
  if (order == Order::shuffled) {
    // std::shuffle's result differs from library to library.
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random() % i]);
  }
}

void Emulator::Impl::start_threads() {
  const auto count = static_cast<size_t>(block.task->threads);
  while (threads.size() < count) threads.push_back(std::make_unique<Thread>());
  turn.resize(count);
  std::iota(turn.begin(), turn.end(), 0);
  put_in_order(turn);
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = *threads[i];
    thread.state = State::ready;
    thread.index = static_cast<int>(i);
    thread.fiber.start(
        [](void* argument) {
          auto& self = *static_cast<Thread*>(argument);
          try {
            running->task->body(running->task->self);
            self.state = State::done;
          } catch (const Fault& fault) {
            self.fault = fault.what;
            self.state = State::failed;
          }
        },
        &thread);
  }
}

// Runs every thread that is ready to where it waits or ends; false if none was.
bool Emulator::Impl::pass() {
  bool any = false;
  if (order == Order::shuffled) put_in_order(turn);
  for (const int i : turn) {
    Thread& thread = *threads[static_cast<size_t>(i)];
    if (thread.state != State::ready) continue;
    any = true;
    block.place.thread = i;
    block.thread = &thread;
    thread.fiber.resume();
    if (thread.state == State::failed) fail(thread, thread.fault);
  }
  return any;
}

// Lets the simd groups go on that have met in one shuffle; true if any has.
bool Emulator::Impl::meet_in_shuffles() {
  bool any = false;
  for (size_t begin = 0; begin < turn.size(); begin += gpu::kSimd) {
    const std::span group(threads.data() + begin, gpu::kSimd);
    const Thread& first = *group[0];
    const bool met = std::ranges::all_of(group, [&](const auto& t) {
      return t->state == State::shuffle && t->line == first.line && t->mask == first.mask;
    });
    if (!met) continue;
    std::array<float, gpu::kSimd> values{};
    for (size_t i = 0; i < group.size(); ++i) values[i] = group[i]->value;
    for (size_t i = 0; i < group.size(); ++i) {
      group[i]->value = values[i ^ static_cast<size_t>(first.mask)];
      group[i]->state = State::ready;
    }
    any = true;
  }
  return any;
}

// The same for the block at a barrier; false when all threads are done. Threads that wait in vain are an error.
bool Emulator::Impl::meet_at_barrier() {
  for (size_t begin = 0; begin < turn.size(); begin += gpu::kSimd) {
    expect_to_meet({threads.data() + begin, gpu::kSimd}, State::shuffle);
  }
  const std::span all(threads.data(), turn.size());
  expect_to_meet(all, State::barrier);
  if (all.front()->state == State::done) return false;
  for (const auto& thread : all) thread->state = State::ready;
  return true;
}

// If one of the threads waits so, they all must, at the same place.
void Emulator::Impl::expect_to_meet(std::span<const std::unique_ptr<Thread>> group, State state) const {
  const auto first = std::ranges::find_if(group, [&](const auto& t) { return t->state == state; });
  if (first == group.end()) return;
  const Thread& one = **first;
  const auto place =
      fmt::format("the {} of {}:{}", state == State::barrier ? "barrier" : "shuffle", base_name(one.file), one.line);
  for (const auto& other : group) {
    if (other->state == State::done) {
      fail(*other, fmt::format("returned, but thread {} waits for it at {}", one.index, place));
    }
    if (other->state != state || other->line != one.line || std::strcmp(other->file, one.file) != 0) {
      fail(*other,
           fmt::format("waits at {}:{}, but thread {} at {}", base_name(other->file), other->line, one.index, place));
    }
    if (other->mask != one.mask && state == State::shuffle) {
      fail(*other, fmt::format("shuffles by {}, but thread {} by {} at {}", other->mask, one.index, one.mask, place));
    }
  }
}

void Emulator::Impl::run_block() {
  block.arrays.clear();
  block.shared_used = 0;
  start_threads();
  do {
    while (pass()) {
      meet_in_shuffles();
    }
  } while (meet_at_barrier());
}

Emulator::Emulator(Order order, uint32_t seed) : impl_(std::make_unique<Impl>()) {
  impl_->order = order;
  impl_->random.seed(seed);
  impl_->block.shared.resize(kSharedLimit);
}

Emulator::~Emulator() = default;

void Emulator::run(const Task& task) {
  check(task.threads > 0 && task.threads <= 1024 && task.threads % gpu::kSimd == 0,
        "kernel {}: {} threads a block; it must be a multiple of 32, at most 1024", task.kernel, task.threads);
  const gpu::Grid& grid = task.grid;
  check(grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.y <= 65535 && grid.z <= 65535,
        "kernel {}: a grid of {} x {} x {} blocks; each must be at least 1, the last two at most 65535", task.kernel,
        grid.x, grid.y, grid.z);
  Block& block = impl_->block;
  block.task = &task;
  block.place = {.blocks_x = grid.x};
  std::vector<int> blocks(static_cast<size_t>(grid.x) * static_cast<size_t>(grid.y) * static_cast<size_t>(grid.z));
  std::iota(blocks.begin(), blocks.end(), 0);
  impl_->put_in_order(blocks);
  running = &block;
  try {
    for (const int i : blocks) {
      block.place.x = i % grid.x;
      block.place.y = i / grid.x % grid.y;
      block.place.z = i / grid.x / grid.y;
      impl_->run_block();
    }
  } catch (...) {
    running = nullptr;
    throw;
  }
  running = nullptr;
}

}  // namespace ink::emu
