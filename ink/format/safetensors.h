// The safetensors format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
// data. https://github.com/huggingface/safetensors
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ink/base/file.h"
#include "ink/tensor/tensor.h"

namespace ink {

// A tensor of a file: any rank, f32, f16, bf16 (others are listed with their name but cannot be read).
struct SafetensorsEntry {
  std::string dtype;  // as in the file: "F32"
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // lives as long as the file object
};

// A mapped file. The constructor checks the header against the file: length, JSON, dtypes, shapes (overflow), offsets
// inside the data, in order, without overlap or gap. Throws Error with file, tensor and value.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const fs::path& path);

  const fs::path& path() const { return file_.path(); }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* find(const std::string& name) const;  // null if absent

 private:
  MappedFile file_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// One tensor to write: fill writes its bytes, so that only one tensor at a time is in memory twice.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::function<void(std::span<std::byte> out)> fill;  // the whole tensor's bytes; called once, one tensor at a time
};

// Writes a file, whole or not at all, tensors in the order given, data aligned to 8 bytes.
void write_safetensors(const fs::path& path, std::span<const SafetensorsTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

// The elements of a tensor widened to float. out holds as many elements. Throws Error for other dtypes.
void read_floats(const SafetensorsFile& file, const std::string& name, std::span<float> out);

}  // namespace ink
