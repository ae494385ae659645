// How a matrix product is cut: into stages, whose part of a is packed at a time, and strips of columns, a task each.
// And what its innermost kernels share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ink::cpu {

constexpr int64_t divide_up(int64_t size, int64_t step) { return (size + step - 1) / step; }

// With no more rows of a than these, memory sets the pace of a product, and packing b would only hold it up.
constexpr int64_t kMostFewRows = 16;

// The tile of sums that an instruction set's registers hold.
struct TileSize {
  int64_t rows, cols;
};

// Equal steps of at most largest, a multiple of unit each but the last.
constexpr int64_t even_step(int64_t size, int64_t largest, int64_t unit) {
  return divide_up(divide_up(size, divide_up(size, largest)), unit) * unit;
}

// Asks for a cache line, and never reads it: an address beyond its memory, or none, does no harm, but is no pointer.
inline void fetch_line(uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address));  // NOLINT(performance-no-int-to-ptr)
}

// Memory to be fetched while something else is computed: two cache lines at each of count places, stride apart.
struct Fetch {
  static constexpr int64_t kBytes = 128;  // two lines

  Fetch() = default;
  Fetch(const std::byte* data, int64_t stride_bytes, int64_t places)
      : address(reinterpret_cast<uintptr_t>(data)), stride(static_cast<uintptr_t>(stride_bytes)), count(places) {}

  // Asks for one place and goes on to the next, if there is one.
  void step() {
    fetch_line(address);
    fetch_line(address + kBytes / 2);
    address += --count > 0 ? stride : 0;
  }

 private:
  uintptr_t address = 0, stride = 0;
  int64_t count = 0;
};

// c(rows, columns of a tile) = a(k, rows)ᵀ · b(k, columns of a tile), or c += that, from packed panels. One for each
// number of rows.
using MultiplyPanels = void (*)(int64_t k, const float* a, const float* b, float* c, int64_t ldc, bool add,
                                Fetch fetch);

// Kernels for bf16 dot products (AVX512-BF16), for panels of 1, 2, ... 14 rows and 32 columns: an element of a panel is
// two of bf16, one after another along k. Null where the processor has none.
const MultiplyPanels* bf16_multiply_panels();
constexpr TileSize kBf16Tile = {.rows = 14, .cols = 32};

struct GemmBlocks {
  static constexpr int64_t kPackPanels = 4;  // of a task that packs a

  int64_t k_block;           // of a panel of b
  int64_t m_stage, k_stage;  // rows and depth of a that are packed at a time
  int64_t strip, strips;     // columns of a task, and how many such
  int64_t m_parts;           // tasks that share the rows of a strip

  // Only k itself decides where it is cut: the bits are the same for any number of threads, and of rows.
  static constexpr int64_t depth_of(int64_t k) { return even_step(k, 512, 8); }

  GemmBlocks(int64_t m, int64_t n, int64_t k, const TileSize& tile, int threads) {
    constexpr int64_t kStageRows = 1024, kStageElements = 512 * 1024, kStripPanels = 8;
    k_block = depth_of(k);
    m_stage = even_step(m, kStageRows, 1);
    k_stage = std::clamp<int64_t>(kStageElements / (m_stage * k_block), 1, divide_up(k, k_block)) * k_block;
    const int64_t panels = divide_up(n, tile.cols), wanted = 16 * threads;
    strip = std::clamp<int64_t>(panels / wanted, 1, kStripPanels) * tile.cols;
    strips = divide_up(n, strip);
    m_parts = strips >= 4 * threads ? 1 : divide_up(4 * threads, strips);
  }
};

// What the elements of a packed panel are.
enum class Packed : uint8_t { f32, rounded_to_bf16, bf16_pairs };

// Rows [m_start, m_start + m) and depths [k_start, k_start + k), its rows in panels of nearly equal height.
struct Stage {
  int64_t m_start, m, k_start, k, k_block, panels;
  Packed packed;

  Stage(int64_t m_first, int64_t rows, int64_t k_first, int64_t depth, int64_t block, const TileSize& tile,
        Packed elements)
      : m_start(m_first),
        m(rows),
        k_start(k_first),
        k(depth),
        k_block(block),
        panels(divide_up(rows, tile.rows)),
        packed(elements) {}

  int64_t row(int64_t panel) const { return m * panel / panels; }  // where a panel starts, from m_start
  // Rows of a packed panel of depth k.
  int64_t packed_rows(int64_t depth) const { return packed == Packed::bf16_pairs ? divide_up(depth, 2) : depth; }
};

// A task: columns [n_begin, n_end) of the panels [p_begin, p_end). n_next: where the columns begin that its thread is
// likely to go on with, as threads take tasks in turn.
struct Strip {
  int64_t n_begin, n_end, n_next, p_begin, p_end;
};

}  // namespace ink::cpu
