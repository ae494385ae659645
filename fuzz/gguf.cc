// GGUF files: every value and tensor of the container, then the model and the tokenizer in it.
#include "ink/format/gguf.h"

#include "fuzz/model_read.h"

namespace {

using namespace ink;

void read(const GgufValue& value, int reader) {
  switch (reader) {
    case 0:
      value.whole();
      return;
    case 1:
      value.number();
      return;
    case 2:
      value.text();
      return;
    case 3:
      value.texts();
      return;
    default:
      value.wholes();
  }
}

int reader_of(const GgufValue& value) {
  if (value.type == GgufType::array) return value.element == GgufType::string ? 3 : 4;
  if (value.type == GgufType::string) return 2;
  return value.type == GgufType::f32 || value.type == GgufType::f64 ? 1 : 0;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fs::path path = fuzz::put("model.gguf", fuzz::text_of(data, size));
  const bool whole = fuzz::accepts([&] {
    const GgufFile file(path);
    size_t index = 0;
    for (const auto& item : file.metadata()) {
      fuzz::accepts([&] { read(item.second, reader_of(item.second)); });
      fuzz::accepts([&] { read(item.second, static_cast<int>(index++ % 5)); });  // mostly of another type
    }
    size_t bytes = 0;
    for (const auto& [name, tensor] : file.tensors()) {
      bytes += tensor.data.size();
      if (!tensor.data.empty()) file.drop(tensor.data);
    }
    fuzz::expect(bytes <= size, "no byte belongs to two tensors");
  });
  if (whole) fuzz::accepts([&] { fuzz::read_model(path); });
  return 0;
}
