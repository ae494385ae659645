#include "ink/format/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>
#include <utility>

#include "ink/base/check.h"
#include "ink/format/json.h"
#include "ink/tensor/cast.h"

namespace ink {

static_assert(std::endian::native == std::endian::little, "files are little-endian and read as they are");

namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the format's own library
constexpr size_t kLengthBytes = 8;
constexpr size_t kPiece = size_t{1} << 20;  // bytes of a tensor that are in memory at a time when it is written

// The format's types and the bytes of an element.
constexpr std::array<std::pair<std::string_view, int64_t>, 16> kTypes = {{{"F32", 4},
                                                                          {"F16", 2},
                                                                          {"BF16", 2},
                                                                          {"F64", 8},
                                                                          {"I64", 8},
                                                                          {"U64", 8},
                                                                          {"I32", 4},
                                                                          {"U32", 4},
                                                                          {"I16", 2},
                                                                          {"U16", 2},
                                                                          {"I8", 1},
                                                                          {"U8", 1},
                                                                          {"BOOL", 1},
                                                                          {"F8_E4M3", 1},
                                                                          {"F8_E5M2", 1},
                                                                          {"F8_E8M0", 1}}};

// Reads the header's entry of one tensor, naming file and tensor in every error.
class EntryReader {
 public:
  EntryReader(const fs::path& path, const std::string& name, const json& entry)
      : where_(fmt::format("{}: tensor '{}'", path.string(), name)), entry_(entry) {
    check(entry.is_object(), "{} is described by {}, not by an object", where_, short_dump(entry));
  }

  std::string dtype() {
    const json& value = field("dtype");
    const auto row = std::ranges::find_if(kTypes, [&](const auto& type) { return value == type.first; });
    check(row != kTypes.end(), "{} has the unknown dtype {}", where_, short_dump(value));
    element_bytes_ = row->second;
    return std::string(row->first);
  }

  // After dtype(): the dimensions, whose product is a size that fits into 63 bits.
  std::vector<int64_t> shape() {
    const json& value = field("shape");
    check(value.is_array(), "{} has the shape {}, which is not an array", where_, short_dump(value));
    std::vector<int64_t> dims;
    bytes_ = element_bytes_;
    for (const json& dim : value) {
      dims.push_back(whole_number(dim));
      check(dims.back() >= 0, "{} has a dimension {} that is not a whole number", where_, short_dump(dim));
      check(dims.back() == 0 || bytes_ <= std::numeric_limits<int64_t>::max() / dims.back(),
            "{} has the shape {}, whose size overflows", where_, short_dump(value));
      bytes_ *= dims.back();
    }
    return dims;
  }

  // After shape(): begin and end within data_bytes bytes of data.
  std::pair<int64_t, int64_t> offsets(int64_t data_bytes) {
    const json& value = field("data_offsets");
    check(value.is_array() && value.size() == 2, "{} has the data_offsets {}, not two numbers", where_,
          short_dump(value));
    const int64_t begin = whole_number(value[0]), end = whole_number(value[1]);
    check(begin >= 0 && end >= begin, "{} has the data_offsets {}, which are no range", where_, short_dump(value));
    check(end <= data_bytes, "{} ends at byte {} of the data, but the file holds {} (truncated?)", where_, end,
          data_bytes);
    check(end - begin == bytes_, "{} has data_offsets over {} bytes, but its shape and dtype take {}", where_,
          end - begin, bytes_);
    return {begin, end};
  }

 private:
  const json& field(const char* key) const {
    const auto found = entry_.find(key);
    check(found != entry_.end(), "{} has no {}", where_, key);
    return *found;
  }

  std::string where_;
  const json& entry_;
  int64_t element_bytes_ = 0;
  int64_t bytes_ = 0;
};

std::map<std::string, std::string> read_metadata(const fs::path& path, const json& value) {
  check(value.is_object(), "{}: __metadata__ is {}, not an object", path.string(), short_dump(value));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    check(text.is_string(), "{}: __metadata__ has {} for '{}', not a string", path.string(), short_dump(text), key);
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& file_path) : file_(file_path) {
  const std::string where = file_path.string();
  const std::span<const std::byte> bytes = file_.bytes();
  check(bytes.size() >= kLengthBytes, "{}: {} bytes, too short for a safetensors file", where, bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  check(header_bytes <= kMaxHeader, "{}: the header claims {} bytes, more than the {} allowed; not a safetensors file?",
        where, header_bytes, kMaxHeader);
  check(header_bytes <= bytes.size() - kLengthBytes,
        "{}: the header claims {} bytes, but the file holds {} (truncated?)", where, header_bytes,
        bytes.size() - kLengthBytes);
  const json header = parse_json_object(file_path, "the header", file_.text().substr(kLengthBytes, header_bytes));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);

  struct Range {
    int64_t begin, end;
    std::string name;
    bool operator<(const Range& other) const { return std::tie(begin, end) < std::tie(other.begin, other.end); }
  };
  std::vector<Range> ranges;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(file_path, value);
      continue;
    }
    EntryReader reader(file_path, name, value);
    SafetensorsEntry& entry = entries_[name];
    entry.dtype = reader.dtype();
    entry.shape = reader.shape();
    const auto [begin, end] = reader.offsets(static_cast<int64_t>(data.size()));
    entry.data = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    ranges.push_back({begin, end, name});
  }

  // The tensors cover the data exactly: nothing hides between them and no byte belongs to two.
  std::sort(ranges.begin(), ranges.end());
  int64_t covered = 0;
  for (const Range& range : ranges) {
    check(range.begin >= covered,
          "{}: tensor '{}' begins at byte {} of the data, inside the one before, which ends at {}", where, range.name,
          range.begin, covered);
    check(range.begin == covered, "{}: {} bytes of data before tensor '{}' belong to no tensor", where,
          range.begin - covered, range.name);
    covered = range.end;
  }
  check(covered == static_cast<int64_t>(data.size()), "{}: {} bytes of data after the last tensor", where,
        static_cast<int64_t>(data.size()) - covered);
}

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

void SafetensorsFile::drop(std::span<const std::byte> data) const {
  const std::less_equal<> before;
  const std::span<const std::byte> all = file_.bytes();
  if (before(all.data(), data.data()) && before(data.data() + data.size(), all.data() + all.size())) file_.drop(data);
}

const SafetensorsEntry& find_floats(const SafetensorsFile& file, const std::string& name, size_t elements) {
  const SafetensorsEntry* entry = file.find(name);
  const std::string where = file.path().string();
  check(entry != nullptr, "{}: no tensor '{}'", where, name);
  const bool wide = entry->dtype == "F32";
  check(wide || entry->dtype == "BF16" || entry->dtype == "F16",
        "{}: tensor '{}' has dtype {}; F32, F16 and BF16 can be read", where, name, entry->dtype);
  check(entry->data.size() / (wide ? sizeof(float) : sizeof(uint16_t)) == elements,
        "{}: tensor '{}' has the shape ({}), but {} elements are wanted", where, name, fmt::join(entry->shape, ", "),
        elements);
  return *entry;
}

DType floats_type(const SafetensorsEntry& entry) {
  return entry.dtype == "F32" ? DType::f32 : entry.dtype == "F16" ? DType::f16 : DType::bf16;
}

void read_floats(const SafetensorsEntry& entry, size_t begin, std::span<float> out) {
  const DType dtype = floats_type(entry);
  to_f32(dtype, entry.data.subspan(begin * block_bytes(dtype), out.size() * block_bytes(dtype)).data(), out);
}

void read_floats(const SafetensorsFile& file, const std::string& name, std::span<float> out) {
  read_floats(find_floats(file, name, out.size()), 0, out);
}

void write_safetensors(const fs::path& path, std::span<const SafetensorsTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  const auto file_bytes = [](const SafetensorsTensor& t) {
    int64_t elements = 1;
    for (const int64_t dim : t.shape) elements *= dim;
    return bytes_of(t.dtype, elements);
  };
  const auto type_of = [](DType dtype) {
    switch (dtype) {
      case DType::f32:
        return "F32";
      case DType::f16:
        return "F16";
      case DType::bf16:
        return "BF16";
      case DType::i32:
        return "I32";
      case DType::q8_0:
      case DType::q4_0:
        break;  // the format has no blocks
    }
    return "?";
  };
  size_t offset = 0;
  for (const SafetensorsTensor& t : tensors) {
    assert(!header.contains(t.name));
    const size_t end = offset + file_bytes(t);
    header[t.name] = {{"dtype", type_of(t.dtype)}, {"shape", t.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // aligns the data
  const uint64_t header_bytes = text.size();

  AtomicFile file(path);
  file.write(&header_bytes, sizeof header_bytes);
  file.write(text);
  std::vector<std::byte> buffer;
  for (const SafetensorsTensor& t : tensors) {
    const size_t bytes = file_bytes(t);
    for (size_t begin = 0; begin < bytes; begin += kPiece) {
      buffer.resize(std::min(kPiece, bytes - begin));
      t.fill(begin, buffer);
      file.write(buffer.data(), buffer.size());
    }
  }
  file.commit();
}

}  // namespace ink
