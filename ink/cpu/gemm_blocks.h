// How a matrix product is cut: into stages, whose part of a is packed at a time, and strips of columns, a task each.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ink::cpu {

constexpr int64_t divide_up(int64_t size, int64_t step) { return (size + step - 1) / step; }

// The tile of sums that an instruction set's registers hold.
struct TileSize {
  int64_t rows, cols;
};

// Equal steps of at most largest, a multiple of unit each but the last.
constexpr int64_t even_step(int64_t size, int64_t largest, int64_t unit) {
  return divide_up(divide_up(size, divide_up(size, largest)), unit) * unit;
}

struct GemmBlocks {
  static constexpr int64_t kPackPanels = 4;  // of a task that packs a

  int64_t k_block;           // a panel of b of this depth fits the first-level cache
  int64_t m_stage, k_stage;  // rows and depth of a that are packed at a time
  int64_t strip, strips;     // columns of a task, and how many such
  int64_t m_parts;           // tasks that share the rows of a strip

  // Only the shape decides where k is cut, so the bits are the same for any number of threads.
  GemmBlocks(int64_t m, int64_t n, int64_t k, const TileSize& tile, int threads) {
    constexpr int64_t kDepth = 512, kStageRows = 1024, kStageElements = 512 * 1024, kStripPanels = 8;
    k_block = even_step(k, kDepth, 8);
    m_stage = even_step(m, kStageRows, 1);
    k_stage = std::clamp<int64_t>(kStageElements / (m_stage * k_block), 1, divide_up(k, k_block)) * k_block;
    const int64_t panels = divide_up(n, tile.cols), wanted = 4 * threads;
    strip = std::clamp<int64_t>(panels / wanted, 1, kStripPanels) * tile.cols;
    strips = divide_up(n, strip);
    m_parts = strips >= wanted ? 1 : divide_up(wanted, strips);
  }
};

// Rows [m_start, m_start + m) and depths [k_start, k_start + k), its rows in panels of nearly equal height.
struct Stage {
  int64_t m_start, m, k_start, k, k_block, panels;

  Stage(int64_t m_first, int64_t rows, int64_t k_first, int64_t depth, int64_t block, const TileSize& tile)
      : m_start(m_first), m(rows), k_start(k_first), k(depth), k_block(block), panels(divide_up(rows, tile.rows)) {}

  int64_t row(int64_t panel) const { return m * panel / panels; }  // where a panel starts, from m_start
};

// A task: columns [n_begin, n_end) of the panels [p_begin, p_end).
struct Strip {
  int64_t n_begin, n_end, p_begin, p_end;
};

}  // namespace ink::cpu
