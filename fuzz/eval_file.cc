// llm.c's eval files: read, and where they can be written, read again.
#include "ink/data/eval_file.h"

#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  const fs::path path = fuzz::put("eval.bin", fuzz::text_of(data, size));
  std::vector<ChoiceExample> examples;
  if (!fuzz::accepts([&] { examples = read_eval_file(path, nullptr); })) return 0;
  for (const ChoiceExample& example : examples) {
    fuzz::expect(example.label >= 0 && static_cast<size_t>(example.label) < example.completions.size(), "a right one");
  }
  const fs::path again = fuzz::folder() / "again.bin";
  if (!fuzz::accepts([&] { write_eval_file(again, examples); })) return 0;
  fuzz::expect(read_eval_file(again, nullptr) == examples, "what is written is read back");
  return 0;
}
