// Hugging Face model folders. The parts of an input: config.json, the index of shards (empty: there is none), the bytes
// of the first shard as a number, and the weights: one file, or both shards of the index.
#include <algorithm>
#include <charconv>

#include "fuzz/model_read.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  static const fs::path index = fuzz::folder() / "model.safetensors.index.json";
  static const fs::path single = fuzz::folder() / "model.safetensors";
  std::string_view input = fuzz::text_of(data, size);
  fuzz::put("config.json", fuzz::take_part(input));
  const std::string_view shards = fuzz::take_part(input), number = fuzz::take_part(input);
  std::error_code ignored;
  if (shards.empty()) {
    fs::remove(index, ignored);
    fuzz::put(single.filename(), input);
  } else {
    fs::remove(single, ignored);
    fuzz::put(index.filename(), shards);
    size_t first = 0;
    std::from_chars(number.data(), number.data() + number.size(), first);
    fuzz::put("1.safetensors", input.substr(0, first));
    fuzz::put("2.safetensors", input.substr(std::min(first, input.size())));
  }
  fuzz::accepts([&] { fuzz::read_model(fuzz::folder()); });
  return 0;
}
