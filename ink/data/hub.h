// Model folders from Hugging Face: https://huggingface.co/ORG/NAME/resolve/REVISION/FILE.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ink {

struct HubOptions {
  std::string revision = "main";  // a branch, tag or commit
  std::string address = "https://huggingface.co";
  std::string mirror;  // a folder or address with ORG/NAME/FILE, asked first; empty: none
  std::string token;   // for models that want one; only sent to `address`
  std::function<void(const std::string& file, int64_t done, int64_t total)> progress;
};

struct HubResult {
  std::string from;                // what it was fetched from, its commit where that is known
  std::vector<std::string> files;  // in the folder
};

// "openai-community/gpt2" for gpt2 and so on; ORG/NAME for itself. Throws UsageError for what is neither: both parts
// are letters, digits, '-', '_' and '.', and do not begin with '.'.
std::string hub_name(std::string_view name);

// Fetches a GPT-2's files into `folder`, which must not exist: config.json, the weights (model.safetensors, or the
// files that model.safetensors.index.json names), tokenizer.json, or vocab.json and merges.txt where it is missing, and
// generation_config.json and tokenizer_config.json where they are there. Everything is gathered in the folder
// FOLDER.part beside it, which stays when something fails: the next call goes on from it. Large files are checked
// against their SHA-256, the weights' headers against config.json; then the folder gets its name. Throws Error that
// says what to do, UsageError for a name or revision that cannot be one.
HubResult get_model(std::string_view name, const std::filesystem::path& folder, const HubOptions& options);

}  // namespace ink
