#include "ink/eval/texts.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/suggest.h"
#include "ink/data/prepare.h"
#include "ink/data/registry.h"
#include "ink/data/shard.h"
#include "ink/data/text_window.h"

namespace ink {

namespace {

constexpr std::array<std::string_view, 3> kSplitNames = {"val", "train", "all"};

std::string_view name_of(Split split) { return kSplitNames[static_cast<size_t>(split)]; }

TokenStream stream_of_shard(const fs::path& path, int64_t vocab) {
  const auto shard = std::make_shared<const Shard>(path);
  check_vocab(*shard, vocab);
  return {static_cast<int64_t>(shard->tokens().size()),
          [shard](int64_t i) { return int32_t{shard->tokens()[static_cast<size_t>(i)]}; }};
}

// Where the training text ends, as prepare() cuts it.
size_t split_at(std::string_view text, const Tokenizer& tokenizer) {
  const auto limit = static_cast<size_t>(static_cast<double>(text.size()) * (1 - PrepareOptions{}.val_fraction));
  const size_t safe = tokenizer.safe_cut(text, limit);
  return safe > 0 ? safe : character_cut(text, limit);
}

TokenStream stream_of_text(const fs::path& path, Split split, const Tokenizer& tokenizer, ThreadPool& pool) {
  const MappedFile file(path);
  std::string_view text = file.text();
  if (split == Split::val) text.remove_prefix(split_at(text, tokenizer));
  if (split == Split::train) text = text.substr(0, split_at(text, tokenizer));
  check(!text.empty(), "{}: no text in it", path.string());
  const auto ids = std::make_shared<std::vector<int32_t>>();
  try {
    tokenizer.encode_parallel(text, pool, *ids);
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
  return {static_cast<int64_t>(ids->size()), [ids](int64_t i) { return (*ids)[static_cast<size_t>(i)]; }};
}

// The shards of a folder, sorted; of a split those with its name in theirs.
std::vector<fs::path> shards_in(const fs::path& folder, Split split) {
  std::vector<fs::path> shards;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".bin" || name.starts_with('.')) continue;
    if (split != Split::all && name.find(name_of(split)) == std::string::npos) continue;
    if (is_shard(MappedFile(entry.path()).bytes())) shards.push_back(entry.path());
  }
  check(!error, "{}: cannot be searched for shards: {}", folder.string(), error.message());
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace

Split split_from_name(std::string_view name) {
  const auto found = std::find(kSplitNames.begin(), kSplitNames.end(), name);
  if (found == kSplitNames.end()) fail_unknown("split", name, kSplitNames);
  return static_cast<Split>(found - kSplitNames.begin());
}

EvalTexts open_eval_texts(const std::string& data, std::optional<Split> split, const Tokenizer& tokenizer,
                          int64_t vocab, ThreadPool& pool, const std::function<void(int64_t, int64_t)>& progress) {
  EvalTexts texts{data, {}};
  const fs::path path = data;
  std::error_code missing;
  const bool exists = fs::exists(path, missing);
  if (exists && fs::is_directory(path, missing) && !shards_in(path, Split::all).empty()) {
    const std::vector<fs::path> shards = shards_in(path, split.value_or(Split::val));
    check(!shards.empty(), "{}: no shards with \"{}\" in their name; choose another --split", data,
          name_of(split.value_or(Split::val)));
    for (const fs::path& shard : shards) texts.streams.push_back(stream_of_shard(shard, vocab));
    texts.name += fmt::format(" ({})", name_of(split.value_or(Split::val)));
  } else if (exists && !fs::is_directory(path, missing) && is_shard(MappedFile(path).bytes())) {
    if (split) throw UsageError(fmt::format("{}: --split {} does not apply to a single shard", data, name_of(*split)));
    texts.streams.push_back(stream_of_shard(path, vocab));
  } else if (exists) {
    for (const fs::path& file : text_files({path})) {
      texts.streams.push_back(stream_of_text(file, split.value_or(Split::all), tokenizer, pool));
    }
    if (split) texts.name += fmt::format(" ({})", name_of(*split));
  } else {
    // What looks like a path is not the misspelt name of a data set.
    check(data.find('/') == std::string::npos && path.extension().empty(), "{}: no such file or folder", data);
    const fs::path file = get_dataset(find_dataset(data), progress);
    texts.streams.push_back(stream_of_text(file, split.value_or(Split::val), tokenizer, pool));
    texts.name += fmt::format(" ({})", name_of(split.value_or(Split::val)));
  }
  return texts;
}

fs::path validation_data_of(const fs::path& run) {
  std::error_code missing;
  const fs::path data = run / "data";
  return fs::is_directory(data, missing) && !shards_in(data, Split::val).empty() ? data : fs::path();
}

}  // namespace ink
