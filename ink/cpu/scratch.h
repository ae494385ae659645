// Working memory that outlives a call: it grows when first needed, and steady training allocates nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace ink::cpu {

// One block, aligned to a cache line, with undefined content.
class Scratch {
 public:
  // Room for count elements, the same memory as before if it was enough.
  template <class T>
  T* get(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes > bytes_) {
      memory_.reset();
      bytes_ = 0;  // should there be no memory
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
      bytes_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
  };

  std::unique_ptr<std::byte, Delete> memory_;
  size_t bytes_ = 0;
};

// A block for each of the tasks that run at the same time. Which task gets which block is left to chance, so a task
// must write what it reads.
class ScratchSlots {
  struct Slot {
    Scratch scratch;
    float* floats = nullptr;
    std::atomic<bool> taken{false};
  };

 public:
  explicit ScratchSlots(int threads) : slots_(threads) {}

  // Room for count floats in every slot. Not while tasks run.
  void reserve(size_t count) {
    for (Slot& slot : slots_) slot.floats = slot.scratch.get<float>(count);
  }

  // A slot held for the length of a task.
  class Lease {
   public:
    explicit Lease(ScratchSlots& slots) {
      for (size_t i = 0;; i = (i + 1) % slots.slots_.size()) {
        slot_ = &slots.slots_[i];
        if (!slot_->taken.exchange(true, std::memory_order_acquire)) return;
      }
    }
    ~Lease() { slot_->taken.store(false, std::memory_order_release); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    float* floats() const { return slot_->floats; }

   private:
    Slot* slot_ = nullptr;
  };

 private:
  std::vector<Slot> slots_;
};

}  // namespace ink::cpu
