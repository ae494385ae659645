#include "ink/format/element_reader.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "ink/tensor/cast.h"

namespace ink {

namespace {

constexpr int64_t kPiece = int64_t{1} << 16;  // elements that are on their way at a time: they stay in the cache
constexpr int64_t kSquare = 32;

// out(cols, rows) = inᵀ for elements of so many bytes, in squares that stay in the cache. Written in order: scattered
// writes whose distance is a power of two times some pages push each other out of the cache, ten times slower.
template <size_t bytes>
void transpose(const std::byte* in, int64_t rows, int64_t cols, std::byte* out) {
  constexpr auto kBytes = static_cast<int64_t>(bytes);
  for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
    for (int64_t c0 = 0; c0 < cols; c0 += kSquare) {
      for (int64_t c = c0; c < std::min(cols, c0 + kSquare); ++c) {
        for (int64_t r = r0; r < std::min(rows, r0 + kSquare); ++r) {
          std::memcpy(out + (c * rows + r) * kBytes, in + (r * cols + c) * kBytes, bytes);
        }
      }
    }
  }
}

}  // namespace

ElementReader::ElementReader(const StoredTensor& tensor, DType dtype, bool transposed)
    : tensor_(tensor), dtype_(dtype), turn_(tensor.shape.rank() == 2 && tensor.transposed != transposed) {
  const int64_t rows = tensor.shape.rows(), cols = tensor.shape.cols();
  rows_ = turn_ ? cols : rows;
  cols_ = turn_ ? rows : cols;
  assert(cols_ % block_of(dtype) == 0);
  step_ = std::max(turn_ ? kSquare : 1, kPiece / cols_);
  if (turn_) step_ = step_ / block_of(tensor.dtype) * block_of(tensor.dtype);  // whole blocks are read
}

std::span<const std::byte> ElementReader::next() {
  const int64_t count = std::min(step_, rows_ - row_);
  if (count <= 0) return {};
  const std::span<const std::byte> piece = turn_ ? turned(count) : straight(count);
  row_ += count;
  return piece;
}

std::span<const std::byte> ElementReader::straight(int64_t count) {
  if (tensor_.dtype == dtype_) {
    return tensor_.data.subspan(bytes_of(dtype_, row_ * cols_), bytes_of(dtype_, count * cols_));
  }
  floats_.resize(static_cast<size_t>(count * cols_));
  read_elements(tensor_, row_ * cols_, floats_);
  piece_.resize(bytes_of(dtype_, count * cols_));
  from_f32(floats_, dtype_, piece_.data());
  return piece_;
}

std::span<const std::byte> ElementReader::turned(int64_t count) {
  const bool copies = tensor_.dtype == dtype_ && block_of(dtype_) == 1;
  const auto elements = static_cast<size_t>(count * cols_);
  piece_.resize(bytes_of(dtype_, count * cols_));
  if (!copies) {
    floats_.resize(elements);
    turned_floats_.resize(elements);
    for (int64_t c = 0; c < cols_; ++c) {
      const auto part = std::span(floats_).subspan(static_cast<size_t>(c * count), static_cast<size_t>(count));
      read_elements(tensor_, c * rows_ + row_, part);
    }
    transpose<sizeof(float)>(std::as_bytes(std::span(floats_)).data(), cols_, count,
                             std::as_writable_bytes(std::span(turned_floats_)).data());
    from_f32(turned_floats_, dtype_, piece_.data());
    return piece_;
  }
  const size_t part = bytes_of(dtype_, count);
  gathered_.resize(piece_.size());
  for (int64_t c = 0; c < cols_; ++c) {
    std::memcpy(gathered_.data() + static_cast<size_t>(c) * part,
                tensor_.data.subspan(bytes_of(dtype_, c * rows_ + row_), part).data(), part);
  }
  if (block_bytes(dtype_) == 4) {
    transpose<4>(gathered_.data(), cols_, count, piece_.data());
  } else {
    transpose<2>(gathered_.data(), cols_, count, piece_.data());
  }
  return piece_;
}

void ElementReader::read(std::span<std::byte> out) {
  while (!out.empty()) {
    if (rest_.empty()) rest_ = next();
    assert(!rest_.empty());
    const size_t count = std::min(rest_.size(), out.size());
    std::memcpy(out.data(), rest_.data(), count);
    rest_ = rest_.subspan(count);
    out = out.subspan(count);
  }
}

bool fits(const StoredTensor& tensor, DType dtype) {
  assert(block_of(dtype) == 1);
  if (tensor.dtype == dtype || dtype == DType::f32) return true;
  std::vector<float> values, back;
  std::vector<std::byte> narrow;
  const int64_t elements = tensor.shape.numel();
  for (int64_t begin = 0; begin < elements; begin += kPiece) {
    values.resize(static_cast<size_t>(std::min(kPiece, elements - begin)));
    back.resize(values.size());
    narrow.resize(bytes_of(dtype, static_cast<int64_t>(values.size())));
    read_elements(tensor, begin, values);
    from_f32(values, dtype, narrow.data());
    to_f32(dtype, narrow.data(), back);
    if (std::memcmp(values.data(), back.data(), values.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace ink
