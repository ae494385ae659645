// A trained model ready to generate: weights and tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "ink/model/gpt2.h"
#include "ink/text/tokenizer.h"

namespace ink {

struct LoadedModel {
  std::unique_ptr<Gpt2> model;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// Loads a model directory or an llm.c file for batches of one sequence of at most `context` tokens (0: the model's own
// context). The tokenizer is `tokenizer` (a name or directory) if not empty, else the directory's, else gpt2 for a
// vocabulary of 50,257. ops must outlive the model. Throws Error, also when no tokenizer is known.
LoadedModel load_model(const std::filesystem::path& path, Ops& ops, int64_t context = 0,
                       const std::string& tokenizer = "");

// The tokenizer of a model in files (an empty path: in none), by the rule above; null when none is known.
std::shared_ptr<const Tokenizer> find_tokenizer(const std::filesystem::path& model, int64_t vocab);

}  // namespace ink
