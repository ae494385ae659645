#include "ink/tensor/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace ink {

namespace {
size_t aligned(size_t bytes) { return (bytes + Plan::kAlignment - 1) / Plan::kAlignment * Plan::kAlignment; }
}  // namespace

std::string Shape::str() const {
  std::string text = "(";
  for (int axis = 0; axis < rank_; ++axis) text += (axis > 0 ? ", " : "") + std::to_string(dims_[axis]);
  return text + ")";
}

size_t Plan::arena_index(const std::string& name) {
  const auto found = std::find_if(arenas_.begin(), arenas_.end(), [&](const Arena& a) { return a.name == name; });
  if (found != arenas_.end()) return static_cast<size_t>(found - arenas_.begin());
  arenas_.push_back({name, 0});
  return arenas_.size() - 1;
}

void Plan::add(Tensor* slot, const std::string& arena, std::string name, DType dtype, const Shape& shape, Keep keep) {
  *slot = Tensor(nullptr, dtype, shape);
  const size_t index = arena_index(arena);
  size_t offset = arenas_[index].bytes;
  if (keep == Keep::shared) {
    const auto [first, is_new] = shared_.try_emplace(arena + "/" + name, entries_.size());
    if (!is_new) {
      offset = entries_[first->second].offset;
      assert(entries_[first->second].slot->bytes() >= slot->bytes() &&
             "the first of a shared name must be the largest");
    }
  }
  arenas_[index].bytes = std::max(arenas_[index].bytes, offset + aligned(slot->bytes()));
  entries_.push_back({slot, std::move(name), index, offset, keep});
}

size_t Plan::bytes() const {
  size_t total = 0;
  for (const Arena& arena : arenas_) total += arena.bytes;
  return total;
}

size_t Plan::bytes(const std::string& arena) const {
  for (const Arena& a : arenas_) {
    if (a.name == arena) return a.bytes;
  }
  return 0;
}

void Plan::bind(std::byte* memory) const {
  std::vector<std::byte*> starts;
  for (const Arena& arena : arenas_) {
    starts.push_back(memory);
    memory += arena.bytes;
  }
  for (const Entry& entry : entries_) entry.slot->data = starts[entry.arena] + entry.offset;
}

std::string Plan::report(size_t program_bytes) const {
  std::string text = fmt::format("{:<24} {:>8} {:>16} {:>12}\n", "arena", "tensors", "bytes", "");
  for (size_t i = 0; i < arenas_.size(); ++i) {
    const auto tensors = std::count_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.arena == i; });
    text += fmt::format("{:<24} {:>8} {:>16} {:>12}\n", arenas_[i].name, tensors, arenas_[i].bytes,
                        human_bytes(arenas_[i].bytes));
  }
  text += fmt::format("{:<24} {:>8} {:>16} {:>12}\n", "program", "", program_bytes, human_bytes(program_bytes));
  const size_t peak = bytes() + program_bytes;
  return text + fmt::format("{:<24} {:>8} {:>16} {:>12}\n", "peak", entries_.size(), peak, human_bytes(peak));
}

std::string human_bytes(size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= size_t{1} << 30) return fmt::format("{:.2f} GiB", value / (1 << 30));
  if (bytes >= size_t{1} << 20) return fmt::format("{:.1f} MiB", value / (1 << 20));
  if (bytes >= size_t{1} << 10) return fmt::format("{:.1f} KiB", value / (1 << 10));
  return fmt::format("{} B", bytes);
}

}  // namespace ink
