// What a model is evaluated on, as people name it: text files, folders, data sets and token shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/parallel.h"
#include "ink/eval/text_loss.h"
#include "ink/text/tokenizer.h"

namespace ink {

enum class Split : uint8_t { val, train, all };

// "val", "train", "all"; throws UsageError for another name.
Split split_from_name(std::string_view name);

struct EvalTexts {
  std::string name;                  // "tinyshakespeare (val)"
  std::vector<TokenStream> streams;  // one a file
};

// What `data` names:
//   a token shard                  its tokens, all below `vocab`
//   a text file                    all of it, as one stream
//   a folder of shards             those with "val" in their name, or as the split says
//   a folder of text               all of its files
//   a data set (ink/data/registry) the last tenth of its text, which `ink train --data` keeps for validation
// A split that is asked for divides text as `ink train --data` does. Throws Error for what cannot be read, for no
// tokens, and for tokens outside the vocabulary; UsageError for an unknown name, and for a split of a single shard.
EvalTexts open_eval_texts(const std::string& data, std::optional<Split> split, const Tokenizer& tokenizer,
                          int64_t vocab, ThreadPool& pool,
                          const std::function<void(int64_t done, int64_t total)>& download_progress = {});

// The folder with the validation shards of a run of `ink train`: RUN/data. Empty if there is none.
std::filesystem::path validation_data_of(const std::filesystem::path& run);

}  // namespace ink
