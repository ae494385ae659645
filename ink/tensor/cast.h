// Elements from one type to another.
#pragma once

#include <cstddef>
#include <span>

#include "ink/base/dtype.h"

namespace ink {

// Reads out.size() elements of dtype (not i32), a whole number of blocks, from memory of any alignment.
void to_f32(DType dtype, const std::byte* from, std::span<float> out);

// Writes them, a whole number of blocks. f16 and bf16 are rounded to the nearest, ties to even. Blocks are GGUF's, by
// its reference: d = max|x| / 127 and q = x / d rounded half away from zero for q8_0; for q4_0 d = (the x of the
// largest magnitude) / -8 and q = min(15, ⌊x / d + 8.5⌋). A NaN or infinity spoils its block.
void from_f32(std::span<const float> from, DType dtype, std::byte* to);

}  // namespace ink
