// What products with blocks of q8_0 or q4_0 are made of: rows of a rounded to blocks of the same size, panels of rows
// of b, and kernels that multiply them. Sums within a block are exact, so all kernels give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ink/base/dtype.h"

namespace ink::cpu {

struct QuantizedKernels {
  // c(rows, cols) = the products of so many blocks of each row of a, lda bytes apart, with a panel, or c continued.
  using Multiply = void (*)(int64_t blocks, const std::byte* a, int64_t lda, const std::byte* panel, float* c,
                            int64_t ldc, bool add);
  // The products of a few rows of a with any number of rows of b.
  struct Few {
    DType type;
    const std::byte* b;  // rows of so many blocks, as those of a are
    int64_t cols, blocks;
    const std::byte* a;
    int64_t rows;
    float* c;
    int64_t ldc;
  };

  int64_t rows, cols;        // the largest product, and the columns of a panel
  int64_t a_block, b_block;  // bytes of a block of one row of a, and of a block of a panel
  const Multiply* multiply;  // for 1, 2, ... rows
  // One row of a, rounded.
  void (*pack_a)(const float* a, int64_t blocks, std::byte* out);
  // A panel of at most cols rows of b, row_bytes apart. The memory at next is fetched, laid out as b is, unless null.
  void (*pack_b)(DType type, const std::byte* b, int64_t row_bytes, int64_t rows, int64_t blocks, const std::byte* next,
                 std::byte* panel);
  // At most few_rows are multiplied by this, as b is read, with no panel in between.
  int64_t few_rows = 0;
  void (*multiply_few)(const Few& p) = nullptr;
};

// A block of a for 8-bit dot products of signed with unsigned numbers: those of b are 128 too large, for which the sum
// starts from minus_offset = -128 · Σ q.
struct SignedBlock {
  float d;
  int32_t minus_offset;
  int8_t q[32];
};

// Kernels for AVX512-VNNI over SignedBlocks, without pack_a. Null where the processor has no such instructions.
const QuantizedKernels* vnni_kernels();

}  // namespace ink::cpu
