// The GGUF container: metadata, tensor infos, aligned data. Versions 2 and 3 are read, 3 is written, little-endian.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
//   "GGUF", u32 version, u64 tensors, u64 keys
//   keys:    string name, u32 type, value        string: u64 length, bytes; array: u32 type, u64 count, elements
//   tensors: string name, u32 rank, u64 dims[rank] (the fastest first), u32 type, u64 offset
//   zeros up to the alignment (general.alignment, else 32), then the data, from which offsets count
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/dtype.h"
#include "ink/base/file.h"

namespace ink {

enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// A value of a mapped file. The typed reads throw Error, naming file and key, if it is of another type.
class GgufValue {
 public:
  std::string where;  // "FILE: KEY", for errors
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  // of an array
  uint64_t count = 0;               // elements of an array
  std::span<const std::byte> data;  // as in the file; of an array, its elements; of a string, its bytes

  int64_t whole() const;                        // any integer type, in [0, 2^63)
  double number() const;                        // f32 or f64
  std::string_view text() const;                // a string
  std::vector<std::string_view> texts() const;  // an array of strings
  std::vector<int64_t> wholes() const;          // an array of any integer type, signed or not
};

struct GgufTensor {
  uint32_t type = 0;           // ggml's number of the type
  std::string_view type_name;  // "Q6_K"; empty for a type that is not known, whose data is empty
  std::vector<int64_t> dims;   // 1 to 4, the fastest first: {in, out} of a matrix
  std::span<const std::byte> data;
};

inline constexpr uint32_t kGgmlQ6K = 14;

// ggml's number of a type.
uint32_t ggml_type(DType dtype);

// A mapped file. The constructor checks everything but the meaning: counts and lengths against the file, types, the
// depth of arrays, keys and names that come twice, dimensions (overflow), offsets against alignment, file and overlap.
class GgufFile {
 public:
  explicit GgufFile(const fs::path& path);

  const fs::path& path() const { return file_.path(); }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const { return tensors_; }
  const GgufValue* find(std::string_view key) const;  // null if absent
  const GgufValue& at(std::string_view key) const;    // throws Error if absent
  void drop(std::span<const std::byte> data) const { file_.drop(data); }

 private:
  MappedFile file_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::map<std::string, GgufTensor, std::less<>> tensors_;
};

// Metadata to write, in the order of the calls.
class GgufMetadata {
 public:
  void add(std::string_view key, uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }
  void add(std::string_view key, std::span<const std::string> values);
  void add(std::string_view key, std::span<const int32_t> values);

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufType type);

  uint64_t count_ = 0;
  std::string bytes_;
};

// One tensor to write: its elements come in pieces, in order.
struct GgufOutput {
  using Sink = std::function<void(std::span<const std::byte>)>;
  std::string name;
  std::vector<int64_t> dims;
  DType dtype = DType::f32;
  std::function<void(const Sink& sink)> write;  // all of the tensor's bytes, piece by piece
};

// Writes a file, whole or not at all, with an alignment of 32.
void write_gguf(const fs::path& path, const GgufMetadata& metadata, std::span<const GgufOutput> tensors);

}  // namespace ink
