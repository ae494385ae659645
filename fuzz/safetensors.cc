// safetensors files: the header, then every tensor that can be read as floats, whole and in pieces.
#include "ink/format/safetensors.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  const fs::path path = fuzz::put("model.safetensors", fuzz::text_of(data, size));
  fuzz::accepts([&] {
    const SafetensorsFile file(path);
    for (const auto& item : file.entries()) {
      const SafetensorsEntry& entry = item.second;
      int64_t elements = 1;
      for (const int64_t dim : entry.shape) elements *= dim;
      fuzz::expect(elements >= 0 && static_cast<size_t>(elements) <= size, "the shape is that of the data");
      std::vector<float> values(static_cast<size_t>(elements));
      if (!fuzz::accepts([&] { read_floats(file, item.first, values); })) continue;
      for (size_t begin = 0; begin < values.size(); begin += 3) {
        std::vector<float> piece(std::min<size_t>(3, values.size() - begin));
        read_floats(entry, begin, piece);
        fuzz::expect(std::memcmp(piece.data(), &values[begin], piece.size() * sizeof(float)) == 0, "pieces are equal");
      }
      file.drop(entry);
    }
  });
  return 0;
}
