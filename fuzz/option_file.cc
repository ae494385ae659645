// Option files and run.toml. What is fuzzed is what happens around toml++, which is linked as the system has it: its
// own sources, built with sanitizers, have findings of their own (assertions and unreachable code that are reached).
#include "cli/option_file.h"

#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  const fs::path path = fuzz::put("run.toml", fuzz::text_of(data, size));
  fuzz::accepts([&] {
    for (const FileOption& option : read_option_file(path)) {
      for (const std::string& value : option.values) {
        const fs::path again = fuzz::put("again.toml", "x = " + option_file_value(value, true) + "\n");
        const std::vector<FileOption> read = read_option_file(again);
        fuzz::expect(read.size() == 1 && read[0].values.size() == 1 && read[0].values[0] == value,
                     "what is written is read back");
      }
    }
  });
  return 0;
}
