#include "ink/format/model_source.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "ink/tensor/cast.h"

namespace ink {

namespace {

constexpr int64_t kPiece = int64_t{1} << 16;  // elements that are on their way at a time: they stay in the cache

}  // namespace

void read_elements(const StoredTensor& tensor, int64_t begin, std::span<float> out) {
  const size_t offset = bytes_of(tensor.dtype, begin);
  assert(offset + bytes_of(tensor.dtype, static_cast<int64_t>(out.size())) <= tensor.data.size());
  to_f32(tensor.dtype, tensor.data.data() + offset, out);
}

void read_matrix(const StoredTensor& tensor, std::span<float> out) {
  if (!tensor.transposed) return read_elements(tensor, 0, out);
  const int64_t in = tensor.shape[0], outs = tensor.shape[1], step = std::max<int64_t>(1, kPiece / outs);
  std::vector<float> rows(static_cast<size_t>(std::min(step, in) * outs));
  for (int64_t begin = 0; begin < in; begin += step) {
    const int64_t count = std::min(step, in - begin);
    read_elements(tensor, begin * outs, std::span(rows).first(static_cast<size_t>(count * outs)));
    // In order of what is written: scattered writes whose distance is a power of two times some pages push each other
    // out of the cache, ten times slower.
    for (int64_t o = 0; o < outs; ++o) {
      for (int64_t i = 0; i < count; ++i)
        out[static_cast<size_t>(o * in + begin + i)] = rows[static_cast<size_t>(i * outs + o)];
    }
  }
}

}  // namespace ink
