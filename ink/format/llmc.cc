// llm.c's model files (gpt2_write_to_checkpoint in its train_gpt2.cu): 256 little-endian int32, then the parameters
// with all layers of a tensor one after another. Version 3 holds f32, version 5 bf16.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/dtype.h"
#include "ink/base/file.h"
#include "ink/format/element_reader.h"
#include "ink/format/model_io.h"
#include "ink/format/readers.h"
#include "ink/text/vocabulary.h"

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

class LlmcSource final : public ModelSource {
 public:
  explicit LlmcSource(const fs::path& path) : file_(path), header_(read_header(file_)) {
    size_t offset = kHeaderBytes;
    for (const ParamSpec& spec : gpt2_schema()) {
      offsets_.push_back(offset);
      if (spec.in(config())) offset += bytes(spec) * static_cast<size_t>(spec.per_layer ? config().layers : 1);
    }
  }

  std::string description() const override {
    return fmt::format("{}: llm.c model, {}", file_.path().string(), name_of(dtype()));
  }
  const Gpt2Config& config() const override { return header_.config; }

  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    const auto row = static_cast<size_t>(&spec - gpt2_schema().data());
    const auto in_file = file_.bytes().subspan(offsets_[row] + bytes(spec) * static_cast<size_t>(layer), bytes(spec));
    Shape shape = spec.shape(config());
    if (spec.vocab_rows) shape = {config().vocab, shape[1]};  // without the file's padding
    return {dtype(), shape, false, in_file.first(bytes_of(dtype(), shape.numel())), nullptr};
  }

  void drop(const StoredTensor& tensor) const override { file_.drop(tensor.data); }

  std::shared_ptr<const Tokenizer> tokenizer() const override {
    const fs::path path = llmc_tokenizer_path(file_.path());
    return fs::exists(path) ? load_llmc_tokenizer(path) : nullptr;
  }

 private:
  DType dtype() const { return header_.bf16 ? DType::bf16 : DType::f32; }
  size_t bytes(const ParamSpec& spec) const { return bytes_of(dtype(), header_.numel(spec)); }

  MappedFile file_;
  Header header_;
  std::vector<size_t> offsets_;  // by row of the schema: of its first layer
};

}  // namespace

fs::path llmc_tokenizer_path(const fs::path& model) {
  return model.parent_path() / (model.stem().string() + "_tokenizer.bin");
}

std::unique_ptr<ModelSource> open_llmc(const fs::path& path) { return std::make_unique<LlmcSource>(path); }

void save_llmc(const fs::path& path, const ModelSource& source, bool bf16) {
  const Gpt2Config& config = source.config();
  check(config.eps == Gpt2Config().eps, "{}: llm.c's model files cannot hold a layer norm epsilon of {}", path.string(),
        config.eps);
  check(config.tied, "{}: llm.c's model files cannot hold a classifier (lm_head.weight) that is not the embedding",
        path.string());
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
  const DType dtype = bf16 ? DType::bf16 : DType::f32;
  for (const ParamSpec& spec : gpt2_schema()) {
    if (!spec.in(config)) continue;
    for (int64_t layer = 0; layer < (spec.per_layer ? config.layers : 1); ++layer) {
      const StoredTensor tensor = source.tensor(spec, layer);
      ElementReader reader(tensor, dtype, false);
      for (auto piece = reader.next(); !piece.empty(); piece = reader.next()) file.write(piece.data(), piece.size());
      source.drop(tensor);
      const int64_t padding = spec.shape(config).numel() - tensor.shape.numel();
      const std::vector<std::byte> zeros(bytes_of(dtype, padding));
      file.write(zeros.data(), zeros.size());
    }
  }
  file.commit();
}

}  // namespace ink
