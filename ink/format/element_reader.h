// A stored tensor in the type and order that somebody wants, piece by piece. Private to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ink/format/model_source.h"

namespace ink {

// Elements that have the wanted type already are copied bit for bit, transposed if need be; others go through f32.
class ElementReader {
 public:
  // The tensor as dtype, and a matrix as (in, out) if so wanted, else (out, in). Rows of the wanted order are a whole
  // number of dtype's blocks. The tensor must outlive the reader.
  ElementReader(const StoredTensor& tensor, DType dtype, bool transposed);

  // The next piece, valid until the next call; empty at the end.
  std::span<const std::byte> next();

  // Fills out with what comes next, for readers who have a size of their own.
  void read(std::span<std::byte> out);

 private:
  std::span<const std::byte> straight(int64_t count);
  std::span<const std::byte> turned(int64_t count);

  const StoredTensor& tensor_;
  DType dtype_;
  bool turn_;            // the wanted order is not the stored one
  int64_t rows_, cols_;  // as wanted
  int64_t step_;         // rows of a piece
  int64_t row_ = 0;      // the next
  std::vector<float> floats_, turned_floats_;
  std::vector<std::byte> gathered_, piece_;
  std::span<const std::byte> rest_;  // of the piece that read() is in
};

// Whether every element keeps its value when it is stored as dtype (f32, f16 or bf16).
bool fits(const StoredTensor& tensor, DType dtype);

}  // namespace ink
