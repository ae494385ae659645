// Questions as lines of JSON.
#include "fuzz/fuzz.h"
#include "ink/data/eval_file.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  static const auto tokenizer = make_byte_tokenizer();
  const std::string_view text = fuzz::text_of(data, size);
  is_eval_jsonl(text);
  std::vector<ChoiceExample> examples;
  if (!fuzz::accepts([&] { examples = parse_eval_jsonl(text, "eval.jsonl", *tokenizer); })) return 0;
  for (const ChoiceExample& example : examples) {
    fuzz::expect(example.label >= 0 && static_cast<size_t>(example.label) < example.completions.size(), "a right one");
  }
  return 0;
}
