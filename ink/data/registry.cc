// The table of data sets.
#include "ink/data/registry.h"

#include <array>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/suggest.h"

namespace ink {

namespace {

constexpr std::array kDatasets = {
    Dataset{.name = "tinyshakespeare",
            .description = "40,000 lines of Shakespeare's plays (A. Karpathy, char-rnn, 2015)",
            .url = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            .file = "tinyshakespeare.txt",
            .sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            .bytes = 1115394,
            .recipe = {"llmc", prepare_llmc_tinyshakespeare}},
};

}  // namespace

std::span<const Dataset> datasets() { return kDatasets; }

const Dataset& find_dataset(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Dataset& dataset : kDatasets) {
    if (dataset.name == name) return dataset;
    names.push_back(dataset.name);
  }
  fail_unknown("data set", name, names);
}

void check_recipe(const Dataset& dataset, std::string_view recipe) {
  if (dataset.recipe.prepare != nullptr && dataset.recipe.name == recipe) return;
  throw UsageError(fmt::format(
      "{} has no recipe {}; {}", dataset.name, recipe,
      dataset.recipe.prepare == nullptr ? "it has none at all" : fmt::format("it has {}", dataset.recipe.name)));
}

PrepareResult prepare_recipe(const Dataset& dataset, std::string_view recipe, const fs::path& file,
                             const fs::path& out) {
  check_recipe(dataset, recipe);
  return dataset.recipe.prepare(MappedFile(file).text(), out);
}

}  // namespace ink
