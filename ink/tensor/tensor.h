// A typed view of memory that somebody else owns: pointer, element type, shape. Row-major, contiguous.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include "ink/base/dtype.h"

namespace ink {

// Up to four dimensions. An empty shape is a scalar (one element).
class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> dims) {
    assert(dims.size() <= dims_.size());
    for (const int64_t dim : dims) dims_[rank_++] = dim;
  }

  constexpr int rank() const { return rank_; }
  constexpr int64_t operator[](int axis) const {
    assert(axis >= 0 && axis < rank_);
    return dims_[axis];
  }
  constexpr int64_t numel() const {
    int64_t n = 1;
    for (int axis = 0; axis < rank_; ++axis) n *= dims_[axis];
    return n;
  }
  // All dimensions but the last, multiplied; the last.
  constexpr int64_t rows() const { return rank_ == 0 ? 1 : numel() / std::max<int64_t>(1, dims_[rank_ - 1]); }
  constexpr int64_t cols() const { return rank_ == 0 ? 1 : dims_[rank_ - 1]; }

  constexpr bool operator==(const Shape&) const = default;
  std::string str() const;  // "(4, 64, 768)"

 private:
  std::array<int64_t, 4> dims_{};
  int rank_ = 0;
};

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}

// Like a span, a const Tensor still lets its elements be written: constness is the view's, not the memory's.
struct Tensor {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  Tensor() = default;
  Tensor(void* memory, DType type, const Shape& s) : data(static_cast<std::byte*>(memory)), dtype(type), shape(s) {}

  explicit operator bool() const { return data != nullptr; }
  int64_t numel() const { return shape.numel(); }
  int64_t rows() const { return shape.rows(); }
  int64_t cols() const { return shape.cols(); }
  size_t bytes() const { return bytes_of(dtype, numel()); }

  // The elements, of a host tensor. T must be the tensor's element type.
  template <class T>
  T* as() const {
    assert(dtype == dtype_of<T>());
    return reinterpret_cast<T*>(data);
  }
  float* f32() const { return as<float>(); }
  template <class T>
  std::span<T> span() const {
    return {as<T>(), static_cast<size_t>(numel())};
  }

  // Rows [begin, begin + count) of the tensor seen as (rows, cols).
  Tensor slice_rows(int64_t begin, int64_t count) const {
    assert(begin >= 0 && count >= 0 && begin + count <= rows());
    return {data + bytes_of(dtype, begin * cols()), dtype, {count, cols()}};
  }
};

}  // namespace ink
