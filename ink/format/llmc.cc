// llm.c's model files (gpt2_write_to_checkpoint in its train_gpt2.cu): 256 little-endian int32, then the parameters
// with all layers of a tensor one after another. Version 3 holds f32, version 5 bf16.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/dtype.h"
#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/format/readers.h"

namespace ink {

namespace {

constexpr size_t kHeaderInts = 256;
constexpr size_t kHeaderBytes = kHeaderInts * sizeof(int32_t);
constexpr int32_t kVersionF32 = 3;
constexpr int32_t kVersionBf16 = 5;
constexpr int64_t kMaxPaddedVocab = int64_t{1} << 21;

struct Header {
  Gpt2Config config;
  int64_t padded_vocab = 0;
  bool bf16 = false;

  size_t element_bytes() const { return bf16 ? sizeof(uint16_t) : sizeof(float); }
  // Elements of one layer's tensor in the file, where the embedding has the file's own padding.
  int64_t numel(const ParamSpec& spec) const {
    const Shape shape = spec.shape(config);
    return spec.vocab_rows ? padded_vocab * shape.cols() : shape.numel();
  }
};

Header read_header(const MappedFile& file) {
  const std::string where = file.path().string();
  const size_t size = file.bytes().size();
  check(size >= kHeaderBytes, "{}: {} bytes, too short for an llm.c model file, whose header takes {}", where, size,
        kHeaderBytes);
  std::array<int32_t, kHeaderInts> ints{};
  std::memcpy(ints.data(), file.bytes().data(), kHeaderBytes);
  check(ints[0] == kLlmcModelMagic, "{}: not an llm.c model file (magic {}, expected {})", where, ints[0],
        kLlmcModelMagic);
  check(ints[1] == kVersionF32 || ints[1] == kVersionBf16,
        "{}: version {} of llm.c's model format; versions {} (f32) and {} (bf16) can be read", where, ints[1],
        kVersionF32, kVersionBf16);
  Header header;
  header.bf16 = ints[1] == kVersionBf16;
  header.config = {ints[2], ints[3], ints[4], ints[5], ints[6]};
  header.padded_vocab = ints[7];
  header.config.validate(where);
  check(header.padded_vocab >= header.config.vocab && header.padded_vocab <= kMaxPaddedVocab,
        "{}: padded vocabulary {} for a vocabulary of {}; it must be from that to {}", where, header.padded_vocab,
        header.config.vocab, kMaxPaddedVocab);
  uint64_t expected = kHeaderBytes;
  for (const ParamSpec& spec : gpt2_schema()) {
    if (!spec.in(header.config)) continue;
    const int64_t layers = spec.per_layer ? header.config.layers : 1;
    expected += static_cast<uint64_t>(header.numel(spec) * layers) * header.element_bytes();
  }
  check(size == expected, "{}: {} bytes, but a model of these dimensions takes {} ({})", where, size, expected,
        size < expected ? "truncated?" : "bytes after the end");
  return header;
}

// The first elements of a tensor in the file.
void load_rows(std::span<const std::byte> in_file, bool bf16, const Tensor& rows, Ops& ops) {
  if (!bf16) return ops.upload(rows, in_file.data());
  constexpr int64_t kPiece = int64_t{1} << 16;  // elements on their way at a time: they stay in the cache
  const Tensor flat(rows.data, rows.dtype, {rows.numel(), 1});
  std::vector<float> values;
  for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
    values.resize(static_cast<size_t>(std::min(kPiece, flat.numel() - begin)));
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, in_file.data() + (static_cast<size_t>(begin) + i) * sizeof bits, sizeof bits);
      values[i] = bf16_to_f32(bits);
    }
    ops.upload(flat.slice_rows(begin, static_cast<int64_t>(values.size())), values.data());
  }
}

// Calls visit(param) in the file's order.
template <class Params, class Visit>
void for_each_in_file_order(Params params, const Visit& visit) {
  for (const ParamSpec& spec : gpt2_schema()) {
    for (auto& param : params) {
      if (param.spec == &spec) visit(param);
    }
  }
}

}  // namespace

Gpt2Config read_llmc_config(const std::filesystem::path& path) { return read_header(MappedFile(path)).config; }

void load_llmc(const std::filesystem::path& path, Gpt2& model) {
  const MappedFile file(path);
  const Header header = read_header(file);
  std::span<const std::byte> rest = file.bytes().subspan(kHeaderBytes);
  for_each_in_file_order(model.params(), [&](Param& param) {
    const Tensor& w = param.weight;
    const auto in_file = rest.first(static_cast<size_t>(header.numel(*param.spec)) * header.element_bytes());
    const int64_t rows = param.spec->vocab_rows ? header.config.vocab : w.rows();  // without the file's padding
    load_rows(in_file, header.bf16, w.slice_rows(0, rows), model.ops());
    model.ops().fill(w.slice_rows(rows, w.rows() - rows), 0);
    file.drop(in_file);
    rest = rest.subspan(in_file.size());
  });
}

void save_llmc(const std::filesystem::path& path, const Gpt2& model, bool bf16) {
  const Gpt2Config& config = model.config();
  check(config.eps == Gpt2Config().eps, "{}: llm.c's model files cannot hold a layer norm epsilon of {}", path.string(),
        config.eps);
  std::array<int32_t, kHeaderInts> header{};
  header[0] = kLlmcModelMagic;
  header[1] = bf16 ? kVersionBf16 : kVersionF32;
  size_t next = 2;
  for (const int64_t dimension :
       {config.context, config.vocab, config.layers, config.heads, config.channels, config.padded_vocab()}) {
    header[next++] = static_cast<int32_t>(dimension);
  }
  AtomicFile file(path);
  file.write(header.data(), kHeaderBytes);
  std::vector<float> values;
  std::vector<uint16_t> narrow;
  for_each_in_file_order(model.params(), [&](const Param& param) {
    values.resize(static_cast<size_t>(param.weight.numel()));
    model.ops().download(values.data(), param.weight);
    if (!bf16) return file.write(values.data(), values.size() * sizeof(float));
    narrow.resize(values.size());
    std::transform(values.begin(), values.end(), narrow.begin(), f32_to_bf16);
    file.write(narrow.data(), narrow.size() * sizeof(uint16_t));
  });
  file.commit();
}

}  // namespace ink
