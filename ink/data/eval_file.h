// Multiple-choice questions for evaluating a model: HellaSwag, MMLU and others of the kind, as token ids.
//
// llm.c's eval file (dev/data/data_common.py, llmc/dataloader.h): 256 little-endian int32 (magic 20240522, version 1,
// number of examples, bytes of the longest example), then the examples as uint16: 65535, the bytes of the example (this
// header included), its index, label, number of completions, then the context and each completion, every one a count
// and its tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/text/tokenizer.h"

namespace ink {

inline constexpr int32_t kEvalMagic = 20240522;
inline constexpr int32_t kEvalVersion = 1;
inline constexpr int64_t kMaxEvalExamples = 65535;  // their index is a uint16

struct ChoiceExample {
  std::vector<int32_t> context;                   // at least one token
  std::vector<std::vector<int32_t>> completions;  // at least one, each of at least one token
  int32_t label = 0;                              // the index of the right one

  bool operator==(const ChoiceExample&) const = default;
};

// Whether a file that begins with these bytes means to be an eval file.
bool is_eval_file(std::span<const std::byte> bytes);

// Whether the first line of a text is a question as parse_eval_jsonl takes them, whole or cut off.
bool is_eval_jsonl(std::string_view text);

// The examples of an eval file. Throws Error, naming `where` and the example, unless every count fits the file, indices
// count up from 0, labels are below the number of completions, and the file ends with its last example.
std::vector<ChoiceExample> parse_eval_file(std::span<const std::byte> bytes, std::string_view where);

// One JSON object a line, empty lines aside. The text to go on from is its "ctx", "context", "question" or "query", the
// choices are its "endings" or "choices" (strings), the right one its "label", "answer" or "gold": an index from 0, as
// a number or in a string, or a letter from A. Tokenized as llm.c's hellaswag.py does: the context as it stands, every
// choice with a blank before it. Throws Error naming `where` and the line.
std::vector<ChoiceExample> parse_eval_jsonl(std::string_view text, std::string_view where, const Tokenizer& tokenizer);

// The examples of a file of either kind. The tokenizer may be null for an eval file, which has none.
std::vector<ChoiceExample> read_eval_file(const std::filesystem::path& path, const Tokenizer* tokenizer);

// Writes an eval file, byte for byte as llm.c's write_evalfile, whole or not at all. Throws Error for no examples or
// more than kMaxEvalExamples, and for an example of 65,536 bytes or more or with a token of 65,535 or more. llm.c
// itself reads only files whose examples have four completions each.
void write_eval_file(const std::filesystem::path& path, std::span<const ChoiceExample> examples);

}  // namespace ink
