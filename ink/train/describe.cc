#include "ink/train/describe.h"

#include <algorithm>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/eval_file.h"
#include "ink/data/shard.h"
#include "ink/format/model_io.h"
#include "ink/format/safetensors.h"
#include "ink/tensor/plan.h"
#include "ink/text/tokenizer.h"
#include "ink/text/vocabulary.h"
#include "ink/train/checkpoint.h"

namespace ink {

namespace {

std::string dimensions(const Gpt2Config& c) {
  return fmt::format("{} layers, {} heads, {} channels, context {}, vocabulary {}, {:.1f}M parameters", c.layers,
                     c.heads, c.channels, c.context, c.vocab, static_cast<double>(c.parameters()) / 1e6);
}

std::string describe_tokenizer(const fs::path& directory) {
  const auto tokenizer = load_tokenizer(directory);
  return fmt::format("{} tokenizer of {} tokens", tokenizer->name(), tokenizer->vocab_size());
}

std::string describe_run(const fs::path& path, const std::vector<CheckpointEntry>& checkpoints) {
  std::string text = fmt::format("run folder, {} checkpoint{}", checkpoints.size(), checkpoints.size() == 1 ? "" : "s");
  if (checkpoints.empty()) return text;
  text += fmt::format(", newest at step {}; GPT-2: {}", checkpoints.back().step,
                      dimensions(read_model_config(checkpoints.back().path)));
  // The last validation loss of the log: "s:2000 tel:1.8712".
  if (fs::exists(path / "main.log")) {
    const std::string log = read_file(path / "main.log");
    const size_t at = log.rfind(" tel:");
    if (at != std::string::npos) {
      const size_t line = log.rfind('\n', at) + 1;
      text += fmt::format("; validation loss {} at step {}", log.substr(at + 5, log.find('\n', at) - at - 5),
                          log.substr(line + 2, at - line - 2));
    }
  }
  return text;
}

// "2 token shards, 338028 tokens"; empty if the folder holds none.
std::string describe_shards(const fs::path& path) {
  int64_t shards = 0, tokens = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".bin") continue;
    if (!is_shard(MappedFile(entry.path()).bytes())) continue;
    ++shards;
    tokens += static_cast<int64_t>(Shard(entry.path()).tokens().size());
  }
  return shards == 0 ? "" : fmt::format("{} token shard{}, {} tokens", shards, shards == 1 ? "" : "s", tokens);
}

std::string describe_directory(const fs::path& path) {
  const std::vector<CheckpointEntry> checkpoints = list_checkpoints(path);
  if (!checkpoints.empty() || fs::exists(path / "main.log")) return describe_run(path, checkpoints);
  const bool tokenizer = fs::exists(path / "tokenizer.json") || fs::exists(path / "vocab.json");
  if (fs::exists(path / "config.json")) {
    std::string text = fmt::format("GPT-2 model folder: {}", dimensions(read_model_config(path)));
    if (tokenizer) text += "; " + describe_tokenizer(path);
    if (fs::exists(path / "trainer.json")) text += "; checkpoint of a training run";
    return text;
  }
  const std::string shards = describe_shards(path);
  if (tokenizer) return describe_tokenizer(path) + (shards.empty() ? "" : "; " + shards);
  return shards.empty() ? "a folder with nothing of ours" : shards;
}

// "GGUF, f32" of "PATH: GGUF, f32".
std::string after_path(const std::string& description, const fs::path& path) {
  return description.substr(path.string().size() + 2);
}

std::string describe_file(const fs::path& path) {
  if (path.extension() == ".safetensors") {
    const SafetensorsFile file(path);
    size_t bytes = 0;
    for (const auto& [name, entry] : file.entries()) bytes += entry.data.size();
    return fmt::format("safetensors file, {} tensors, {}", file.entries().size(), human_bytes(bytes));
  }
  if (path.extension() == ".onnx") {
    return fmt::format(
        "ONNX file, {}, for ONNX Runtime and the like: ink export writes such files, nothing here reads them",
        human_bytes(fs::file_size(path)));
  }
  if (path.filename() == "tokenizer.json") return describe_tokenizer(path.parent_path());
  const MappedFile file(path);
  if (is_shard(file.bytes())) return fmt::format("token shard, {} tokens", Shard(path).tokens().size());
  if (is_eval_file(file.bytes())) {
    return fmt::format("eval file, {} multiple-choice questions", parse_eval_file(file.bytes(), path.string()).size());
  }
  if (is_llmc_model(file.bytes())) return fmt::format("llm.c model: {}", dimensions(read_model_config(path)));
  if (is_gguf(file.bytes())) {
    const auto source = open_model(path);
    const auto tokenizer = source->tokenizer();
    return fmt::format("{}: {}; {}", after_path(source->description(), path), dimensions(source->config()),
                       tokenizer == nullptr
                           ? "no tokenizer"
                           : fmt::format("{} tokenizer of {} tokens", tokenizer->name(), tokenizer->vocab_size()));
  }
  if (is_llmc_tokenizer(file.text())) {
    const auto tokenizer = load_llmc_tokenizer(path);
    return fmt::format("llm.c tokenizer: {} of {} tokens", tokenizer->name(), tokenizer->vocab_size());
  }
  const std::string_view text = file.text();
  if (text.empty()) return "an empty file";
  if (text.substr(0, 8192).find('\0') != std::string_view::npos) return "data of no kind that ink knows";
  return fmt::format("text, {} bytes, {} lines", text.size(), std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

std::string describe(const fs::path& path) {
  check(fs::exists(path), "{}: no such file or folder", path.string());
  return fs::is_directory(path) ? describe_directory(path) : describe_file(path);
}

}  // namespace ink
