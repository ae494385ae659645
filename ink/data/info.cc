#include "ink/data/info.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/eval_file.h"
#include "ink/data/shard.h"

namespace ink {

namespace {

constexpr size_t kFirstTokens = 16;
constexpr size_t kSniffBytes = 8192;

std::string describe_shard(const fs::path& path) {
  const Shard shard(path);
  const std::span<const uint16_t> tokens = shard.tokens();
  const uint16_t smallest = *std::min_element(tokens.begin(), tokens.end());
  const std::span<const uint16_t> first = tokens.first(std::min(tokens.size(), kFirstTokens));
  return fmt::format(
      "{}: token shard (llm.c's format, version {})\n  tokens  {}\n  ids     {} to {}\n  first   {}{}\n  bytes   {}\n",
      path.string(), kShardVersion, tokens.size(), smallest, largest_token(tokens), fmt::join(first, " "),
      tokens.size() > first.size() ? " ..." : "", kShardHeaderBytes + tokens.size_bytes());
}

std::string describe_eval_file(const MappedFile& file) {
  const std::vector<ChoiceExample> examples = parse_eval_file(file.bytes(), file.path().string());
  size_t fewest = SIZE_MAX, most = 0, tokens = 0;
  for (const ChoiceExample& example : examples) {
    fewest = std::min(fewest, example.completions.size());
    most = std::max(most, example.completions.size());
    tokens += example.context.size();
    for (const auto& completion : example.completions) tokens += completion.size();
  }
  const std::string completions = fewest == most ? fmt::format("{}", most) : fmt::format("{} to {}", fewest, most);
  return fmt::format(
      "{}: eval file, multiple choice (llm.c's format, version {})\n  examples  {}\n  choices   {}\n  tokens    {}\n"
      "  bytes     {}\n",
      file.path().string(), kEvalVersion, examples.size(), completions, tokens, file.bytes().size());
}

}  // namespace

std::string describe_data(const fs::path& path) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  if (is_eval_file(file.bytes())) return describe_eval_file(file);
  if (is_shard(file.bytes()) || path.extension() == ".bin") return describe_shard(path);
  check(text.substr(0, kSniffBytes).find('\0') == std::string_view::npos,
        "{}: neither a token shard nor text (it holds NUL bytes)", path.string());
  int64_t lines = std::count(text.begin(), text.end(), '\n');
  if (!text.empty() && text.back() != '\n') ++lines;
  return fmt::format("{}: text\n  bytes   {}\n  lines   {}\n", path.string(), text.size(), lines);
}

}  // namespace ink
