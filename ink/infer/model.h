// A trained model ready to generate: weights and tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "ink/format/model_source.h"
#include "ink/model/gpt2_inference.h"
#include "ink/text/tokenizer.h"

namespace ink {

struct LoadedModel {
  std::unique_ptr<Gpt2Inference> model;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// Opens a model folder or file of any format that open_model knows; weights stay in the mapped file where they can. The
// tokenizer is `tokenizer` (a name or directory) if not empty, else what comes with the model, else gpt2 for a
// vocabulary of 50,257. ops must outlive the model. Throws Error, also when no tokenizer is known.
LoadedModel load_model(const std::filesystem::path& path, Ops& ops, const InferenceOptions& options = {},
                       const std::string& tokenizer = "");

// The tokenizer of a model in files (an empty path: in none), by the rule above; null when none is known.
std::shared_ptr<const Tokenizer> find_tokenizer(const std::filesystem::path& model, int64_t vocab);
std::shared_ptr<const Tokenizer> find_tokenizer(const ModelSource& source);

}  // namespace ink
