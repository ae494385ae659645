// What a path holds, in words.
#pragma once

#include <filesystem>
#include <string>

namespace ink {

// One line, or several for a run: a run folder, checkpoint, model folder, llm.c model, token shard, safetensors file,
// tokenizer, folder of shards or text. Throws Error for a path that does not exist or a file of ours that is damaged.
std::string describe(const std::filesystem::path& path);

}  // namespace ink
