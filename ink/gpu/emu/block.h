// What a kernel sees of the emulator: where its thread is, pointers with bounds, shared memory, barriers, shuffles.
// Kernels reach all of it through dialect.h. What a kernel does wrong throws Fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ink::emu {

// The running thread's place in its launch.
struct Place {
  int thread = 0;
  int x = 0, y = 0, z = 0;  // of the block
  int blocks_x = 1;
};
const Place& place();

void barrier(const char* file, int line);
float shuffle_xor(float x, int mask, const char* file, int line);

// Memory of the running block; the same for every thread that asks from the same line. All bits are 1 at first: NaN.
std::byte* shared_bytes(size_t bytes, size_t alignment, int line);

[[noreturn]] void fail_bounds(int64_t index, int64_t size, int buffer);
[[noreturn]] void fail_alignment(int64_t index, size_t bytes, int buffer);

inline constexpr int kShared = -1;  // buffer of a Pointer that points to shared memory

// A pointer that knows the elements it may reach: those of one argument or of one shared array.
template <class T>
class Pointer {
 public:
  Pointer() = default;
  Pointer(T* data, int64_t size, int buffer) : data_(data), size_(size), buffer_(buffer) {}
  template <class U>
  requires std::is_same_v<T, const U> Pointer(const Pointer<U>& other)
      : data_(other.data()), at_(other.at()), size_(other.size()), buffer_(other.buffer()) {}

  T& operator[](int64_t i) const {
    if (at_ + i < 0 || at_ + i >= size_) fail_bounds(at_ + i, size_, buffer_);
    return data_[at_ + i];
  }
  T& operator*() const { return (*this)[0]; }
  Pointer operator+(int64_t n) const {
    Pointer moved = *this;
    moved.at_ += n;
    return moved;
  }
  Pointer operator-(int64_t n) const { return *this + -n; }
  Pointer& operator+=(int64_t n) { return *this = *this + n; }

  // The elements [i, i + n), which must be aligned to their n · sizeof(T) bytes.
  T* vector(int64_t i, int n) const {
    (*this)[i], (*this)[i + n - 1];
    T* p = data_ + at_ + i;
    if (reinterpret_cast<uintptr_t>(p) % (n * sizeof(T)) != 0) fail_alignment(at_ + i, n * sizeof(T), buffer_);
    return p;
  }

  T* data() const { return data_; }
  int64_t at() const { return at_; }
  int64_t size() const { return size_; }
  int buffer() const { return buffer_; }

 private:
  T* data_ = nullptr;
  int64_t at_ = 0, size_ = 0;
  int buffer_ = 0;
};

template <class T>
Pointer<T> shared_array(int64_t count, int line) {
  return {reinterpret_cast<T*>(
              shared_bytes(static_cast<size_t>(count) * sizeof(T), alignof(T) < 16 ? 16 : alignof(T), line)),
          count, kShared};
}

}  // namespace ink::emu
