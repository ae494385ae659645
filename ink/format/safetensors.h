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
  const SafetensorsEntry* find(const std::string& name) const;          // null if absent
  void drop(const SafetensorsEntry& entry) const { drop(entry.data); }  // as MappedFile's
  void drop(std::span<const std::byte> data) const;                     // nothing, if it is of another file

 private:
  MappedFile file_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// One tensor to write: fill writes its bytes piece by piece, so that no tensor need be in memory twice.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  // Writes the bytes [begin, begin + out.size()) of the tensor. The pieces come in order, one tensor after another.
  std::function<void(size_t begin, std::span<std::byte> out)> fill;
};

// Writes a file, whole or not at all, tensors in the order given, data aligned to 8 bytes.
void write_safetensors(const fs::path& path, std::span<const SafetensorsTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

// A tensor of so many elements that read_floats can read: F32, F16 or BF16. Throws Error if there is none of the name.
const SafetensorsEntry& find_floats(const SafetensorsFile& file, const std::string& name, size_t elements);
DType floats_type(const SafetensorsEntry& entry);  // of such a tensor
// Its elements [begin, begin + out.size()), widened to float.
void read_floats(const SafetensorsEntry& entry, size_t begin, std::span<float> out);
// All of them: out holds as many elements. Throws Error as find_floats.
void read_floats(const SafetensorsFile& file, const std::string& name, std::span<float> out);

}  // namespace ink
