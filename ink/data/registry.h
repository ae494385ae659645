// Data sets by name: one row each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "ink/data/prepare.h"

namespace ink {

// A way of laying out a data set as some other program does, byte for byte.
struct Recipe {
  std::string_view name;  // "llmc"; empty for none
  PrepareResult (*prepare)(std::string_view text, const std::filesystem::path& out) = nullptr;
};

struct Dataset {
  std::string_view name;  // "tinyshakespeare"
  std::string_view description;
  std::string_view url;   // its public address
  std::string_view file;  // name in the cache and in a mirror
  std::string_view sha256;
  int64_t bytes;
  Recipe recipe;
};

std::span<const Dataset> datasets();

// Throws UsageError naming the nearest data set.
const Dataset& find_dataset(std::string_view name);

// The data set's file on this machine: from the cache ($XDG_CACHE_HOME/inkling, else ~/.cache/inkling), or fetched into
// it: from INK_MIRROR first (a folder, or an address that FILE is appended to), then from its public address. Downloads
// resume where they broke off and are checked against the SHA-256 before the file gets its name. Throws Error.
std::filesystem::path get_dataset(const Dataset& dataset,
                                  const std::function<void(int64_t done, int64_t total)>& progress = {});

// Throws UsageError if the data set has no recipe of that name.
void check_recipe(const Dataset& dataset, std::string_view recipe);

// Lays the data set's file out in `out` by the recipe of that name, checked as above.
PrepareResult prepare_recipe(const Dataset& dataset, std::string_view recipe, const std::filesystem::path& file,
                             const std::filesystem::path& out);

}  // namespace ink
