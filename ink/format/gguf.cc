#include "ink/format/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "ink/base/check.h"
#include "ink/format/readers.h"

namespace ink {

static_assert(std::endian::native == std::endian::little, "files are little-endian and read as they are");

namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;           // where a file does not say
constexpr uint64_t kMaxAlignment = 1u << 20;  // generous: real files have 32
constexpr size_t kMaxName = 64;               // the format's limit for tensors
constexpr size_t kMaxKey = 65535;             // and for keys
constexpr int kMaxRank = 4;
constexpr int kMaxDepth = 4;                                     // arrays of arrays
constexpr uint64_t kMaxTensors = 1u << 20, kMaxKeys = 1u << 16;  // far beyond any model
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8, kMinKeyBytes = 8 + 1 + 4 + 1;
constexpr std::string_view kAlignmentKey = "general.alignment";

struct GgmlType {
  uint32_t number;
  std::string_view name;
  int64_t block;  // elements
  int64_t bytes;  // of a block
};
// ggml's types (enum ggml_type in ggml.h, block sizes in ggml-common.h). A file may hold any; a model of ours a few.
constexpr std::array kTypes = {
    GgmlType{0, "F32", 1, 4},         GgmlType{1, "F16", 1, 2},         GgmlType{2, "Q4_0", 32, 18},
    GgmlType{3, "Q4_1", 32, 20},      GgmlType{6, "Q5_0", 32, 22},      GgmlType{7, "Q5_1", 32, 24},
    GgmlType{8, "Q8_0", 32, 34},      GgmlType{9, "Q8_1", 32, 36},      GgmlType{10, "Q2_K", 256, 84},
    GgmlType{11, "Q3_K", 256, 110},   GgmlType{12, "Q4_K", 256, 144},   GgmlType{13, "Q5_K", 256, 176},
    GgmlType{14, "Q6_K", 256, 210},   GgmlType{15, "Q8_K", 256, 292},   GgmlType{16, "IQ2_XXS", 256, 66},
    GgmlType{17, "IQ2_XS", 256, 74},  GgmlType{18, "IQ3_XXS", 256, 98}, GgmlType{19, "IQ1_S", 256, 50},
    GgmlType{20, "IQ4_NL", 32, 18},   GgmlType{21, "IQ3_S", 256, 110},  GgmlType{22, "IQ2_S", 256, 82},
    GgmlType{23, "IQ4_XS", 256, 136}, GgmlType{24, "I8", 1, 1},         GgmlType{25, "I16", 1, 2},
    GgmlType{26, "I32", 1, 4},        GgmlType{27, "I64", 1, 8},        GgmlType{28, "F64", 1, 8},
    GgmlType{29, "IQ1_M", 256, 56},   GgmlType{30, "BF16", 1, 2},       GgmlType{34, "TQ1_0", 256, 54},
    GgmlType{35, "TQ2_0", 256, 66},   GgmlType{39, "MXFP4", 32, 17}};

// Bytes of a value of fixed size; 0 for strings and arrays.
constexpr uint64_t size_of(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      break;
  }
  return 0;
}

// Takes what the file holds one after another; every length is checked against what is left.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string where) : all_(bytes), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  uint64_t position() const { return at_; }
  uint64_t left() const { return all_.size() - at_; }

  std::span<const std::byte> take(uint64_t bytes, std::string_view what) {
    check(bytes <= left(), "{}: {} takes {} bytes at byte {}, but {} are left (truncated?)", where_, what, bytes, at_,
          left());
    const auto part = all_.subspan(at_, bytes);
    at_ += bytes;
    return part;
  }
  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string_view string(std::string_view what) {
    const auto bytes = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  GgufType type(std::string_view what) {
    const auto type = number<uint32_t>(what);
    check(type <= static_cast<uint32_t>(GgufType::f64), "{}: {} has the unknown value type {}", where_, what, type);
    return static_cast<GgufType>(type);
  }

  // Passes over the elements of an array and gives them as they lie.
  std::span<const std::byte> elements(GgufType type, uint64_t count, std::string_view what, int depth) {
    check(depth <= kMaxDepth, "{}: {} holds arrays nested deeper than {}", where_, what, kMaxDepth);
    if (const uint64_t size = size_of(type); size > 0) {
      check(count <= left() / size, "{}: {} has {} elements of {} bytes at byte {}, but {} bytes are left (truncated?)",
            where_, what, count, size, at_, left());
      return take(count * size, what);
    }
    const uint64_t begin = at_;
    for (uint64_t i = 0; i < count; ++i) {  // each takes at least 8 bytes: a count that lies ends with the file
      if (type == GgufType::string) {
        string(what);
      } else {
        const GgufType inner = this->type(what);
        elements(inner, number<uint64_t>(what), what, depth + 1);
      }
    }
    return all_.subspan(begin, at_ - begin);
  }

 private:
  std::span<const std::byte> all_;
  std::string where_;
  uint64_t at_ = 0;
};

GgufValue read_value(Reader& reader, std::string_view key) {
  GgufValue value;
  value.where = fmt::format("{}: {}", reader.where(), key);
  value.type = reader.type(key);
  if (value.type == GgufType::string) {
    const std::string_view text = reader.string(key);
    value.data = std::as_bytes(std::span(text));
  } else if (value.type == GgufType::array) {
    value.element = reader.type(key);
    value.count = reader.number<uint64_t>(key);
    value.data = reader.elements(value.element, value.count, key, 1);
  } else {
    value.data = reader.take(size_of(value.type), key);
  }
  return value;
}

template <class T>
T as(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

// Any integer as one that holds it, but for the upper half of u64; nothing for other types.
std::optional<int64_t> integer(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::u8:
      return as<uint8_t>(data);
    case GgufType::i8:
      return as<int8_t>(data);
    case GgufType::u16:
      return as<uint16_t>(data);
    case GgufType::i16:
      return as<int16_t>(data);
    case GgufType::u32:
      return as<uint32_t>(data);
    case GgufType::i32:
      return as<int32_t>(data);
    case GgufType::i64:
      return as<int64_t>(data);
    case GgufType::u64: {
      const auto value = as<uint64_t>(data);
      if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

uint64_t padded(uint64_t bytes, uint64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

// A tensor's info, with its data still to be found: the offset is returned.
struct Info {
  std::string_view name;
  GgufTensor tensor;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

Info read_info(Reader& reader) {
  Info info;
  info.name = reader.string("a tensor's name");
  const std::string where = fmt::format("{}: tensor '{}'", reader.where(), info.name.substr(0, kMaxName));
  check(!info.name.empty() && info.name.size() <= kMaxName, "{} has a name of {} bytes, at most {} are allowed", where,
        info.name.size(), kMaxName);
  const auto rank = reader.number<uint32_t>(info.name);
  check(rank >= 1 && rank <= kMaxRank, "{} has {} dimensions, 1 to {} can be read", where, rank, kMaxRank);
  uint64_t elements = 1;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    const auto dim = reader.number<uint64_t>(info.name);
    check(dim >= 1 && dim <= (uint64_t{1} << 56) / elements, "{} has a dimension of {}: its size overflows or is 0",
          where, dim);
    elements *= dim;
    info.tensor.dims.push_back(static_cast<int64_t>(dim));
  }
  info.tensor.type = reader.number<uint32_t>(info.name);
  info.offset = reader.number<uint64_t>(info.name);
  const auto type = std::ranges::find(kTypes, info.tensor.type, &GgmlType::number);
  if (type == kTypes.end()) return info;
  info.tensor.type_name = type->name;
  check(info.tensor.dims[0] % type->block == 0, "{} has rows of {} elements, which {} cannot hold in blocks of {}",
        where, info.tensor.dims[0], type->name, type->block);
  info.bytes = elements / static_cast<uint64_t>(type->block) * static_cast<uint64_t>(type->bytes);
  return info;
}

// Gives the tensors their data and checks that no byte belongs to two.
void place(std::vector<Info>& infos, std::span<const std::byte> data, uint64_t alignment, const std::string& where) {
  std::vector<std::tuple<uint64_t, uint64_t, std::string_view>> ranges;
  for (Info& info : infos) {
    check(info.offset % alignment == 0,
          "{}: tensor '{}' begins at byte {} of the data, no multiple of the alignment {}", where, info.name,
          info.offset, alignment);
    check(info.offset <= data.size() && info.bytes <= data.size() - info.offset,
          "{}: tensor '{}' takes {} bytes from byte {} of the data, but the file holds {} (truncated?)", where,
          info.name, info.bytes, info.offset, data.size());
    info.tensor.data = data.subspan(info.offset, info.bytes);
    ranges.emplace_back(info.offset, info.offset + info.bytes, info.name);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    const auto& [begin, end, name] = ranges[i];
    const auto& [before, before_end, before_name] = ranges[i - 1];
    check(begin >= before_end, "{}: tensor '{}' begins at byte {} of the data, inside '{}', which ends at {}", where,
          name, begin, before_name, before_end);
  }
}

}  // namespace

int64_t GgufValue::whole() const {
  const std::optional<int64_t> value = type == GgufType::array ? std::nullopt : integer(type, data.data());
  check(value.has_value() && *value >= 0, "{} is not a whole number from 0", where);
  return *value;
}

double GgufValue::number() const {
  check(type == GgufType::f32 || type == GgufType::f64, "{} is not a floating-point number", where);
  return type == GgufType::f32 ? double{as<float>(data.data())} : as<double>(data.data());
}

std::string_view GgufValue::text() const {
  check(type == GgufType::string, "{} is not a string", where);
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

std::vector<std::string_view> GgufValue::texts() const {
  check(type == GgufType::array && element == GgufType::string, "{} is not an array of strings", where);
  Reader reader(data, where);
  std::vector<std::string_view> all;
  all.reserve(count);  // the file holds so many
  for (uint64_t i = 0; i < count; ++i) all.push_back(reader.string("a string"));
  return all;
}

std::vector<int64_t> GgufValue::wholes() const {
  const bool fixed = type == GgufType::array && size_of(element) > 0;
  std::vector<int64_t> all;
  for (uint64_t i = 0; i < (fixed ? count : 0); ++i) {
    const std::optional<int64_t> value = integer(element, data.data() + i * size_of(element));
    check(value.has_value(), "{} is not an array of whole numbers", where);
    all.push_back(*value);
  }
  check(fixed, "{} is not an array of whole numbers", where);
  return all;
}

uint32_t ggml_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 0;
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q8_0:
      return 8;
    case DType::i32:
      return 26;
    case DType::bf16:
      return 30;
  }
  return 0;
}

GgufFile::GgufFile(const fs::path& path) : file_(path) {
  const std::string where = path.string();
  Reader reader(file_.bytes(), where);
  check(reader.left() >= 4 && reader.number<uint32_t>("the magic") == kGgufMagic, "{}: not a GGUF file", where);
  const auto version = reader.number<uint32_t>("the version");
  check(version == 2 || version == kVersion, "{}: version {} of GGUF{}; 2 and 3 can be read", where, version,
        version == 0x02000000 || version == 0x03000000 ? " in big-endian order" : "");
  const auto tensors = reader.number<uint64_t>("the number of tensors");
  const auto keys = reader.number<uint64_t>("the number of keys");
  check(tensors <= std::min(kMaxTensors, reader.left() / kMinTensorBytes), "{}: {} tensors in a file of {} bytes",
        where, tensors, file_.bytes().size());
  check(keys <= std::min(kMaxKeys, reader.left() / kMinKeyBytes), "{}: {} keys in a file of {} bytes", where, keys,
        file_.bytes().size());

  for (uint64_t i = 0; i < keys; ++i) {
    const std::string_view key = reader.string("a key");
    check(!key.empty() && key.size() <= kMaxKey, "{}: a key of {} bytes, 1 to {} are allowed", where, key.size(),
          kMaxKey);
    const bool is_new = metadata_.try_emplace(std::string(key), read_value(reader, key)).second;
    check(is_new, "{}: the key '{}' comes twice", where, key);
  }
  uint64_t alignment = kAlignment;
  if (const GgufValue* value = find(kAlignmentKey)) {
    alignment = static_cast<uint64_t>(value->whole());
    check(std::has_single_bit(alignment) && alignment >= 8 && alignment <= kMaxAlignment,
          "{}: {} is {}, it must be a power of two from 8 to {}", where, kAlignmentKey, alignment, kMaxAlignment);
  }
  std::vector<Info> infos;
  for (uint64_t i = 0; i < tensors; ++i) infos.push_back(read_info(reader));
  const uint64_t begin = std::min<uint64_t>(padded(reader.position(), alignment), file_.bytes().size());
  place(infos, file_.bytes().subspan(begin), alignment, where);
  for (Info& info : infos) {
    const bool is_new = tensors_.try_emplace(std::string(info.name), std::move(info.tensor)).second;
    check(is_new, "{}: the tensor '{}' comes twice", where, info.name);
  }
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const GgufValue& GgufFile::at(std::string_view key) const {
  const GgufValue* value = find(key);
  check(value != nullptr, "{}: no key '{}'", path().string(), key);
  return *value;
}

// --- writing ---

namespace {

template <class T>
requires std::is_arithmetic_v<T>
void append(std::string& out, T value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }

void append(std::string& out, std::string_view text) {
  append(out, uint64_t{text.size()});
  out += text;
}

}  // namespace

void GgufMetadata::begin(std::string_view key, GgufType type) {
  ++count_;
  append(bytes_, key);
  append(bytes_, static_cast<uint32_t>(type));
}

void GgufMetadata::add(std::string_view key, uint32_t value) {
  begin(key, GgufType::u32);
  append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, float value) {
  begin(key, GgufType::f32);
  append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, bool value) {
  begin(key, GgufType::boolean);
  append(bytes_, static_cast<uint8_t>(value));
}

void GgufMetadata::add(std::string_view key, std::string_view value) {
  begin(key, GgufType::string);
  append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, std::span<const std::string> values) {
  begin(key, GgufType::array);
  append(bytes_, static_cast<uint32_t>(GgufType::string));
  append(bytes_, uint64_t{values.size()});
  for (const std::string& value : values) append(bytes_, std::string_view(value));
}

void GgufMetadata::add(std::string_view key, std::span<const int32_t> values) {
  begin(key, GgufType::array);
  append(bytes_, static_cast<uint32_t>(GgufType::i32));
  append(bytes_, uint64_t{values.size()});
  for (const int32_t value : values) append(bytes_, value);
}

void write_gguf(const fs::path& path, const GgufMetadata& metadata, std::span<const GgufOutput> tensors) {
  const auto bytes_in_file = [](const GgufOutput& tensor) {
    int64_t elements = 1;
    for (const int64_t dim : tensor.dims) elements *= dim;
    return uint64_t{bytes_of(tensor.dtype, elements)};
  };
  std::string head;
  append(head, kGgufMagic);
  append(head, kVersion);
  append(head, uint64_t{tensors.size()});
  append(head, metadata.count());
  head += metadata.bytes();
  uint64_t offset = 0;
  for (const GgufOutput& tensor : tensors) {
    append(head, std::string_view(tensor.name));
    append(head, static_cast<uint32_t>(tensor.dims.size()));
    for (const int64_t dim : tensor.dims) append(head, static_cast<uint64_t>(dim));
    append(head, ggml_type(tensor.dtype));
    append(head, offset);
    offset += padded(bytes_in_file(tensor), kAlignment);
  }
  head.resize(padded(head.size(), kAlignment));

  AtomicFile file(path);
  file.write(head);
  for (const GgufOutput& tensor : tensors) {
    uint64_t written = 0;
    tensor.write([&](std::span<const std::byte> piece) {
      file.write(piece.data(), piece.size());
      written += piece.size();
    });
    assert(written == bytes_in_file(tensor));
    file.write(std::string(padded(written, kAlignment) - written, '\0'));
  }
  file.commit();
}

}  // namespace ink
