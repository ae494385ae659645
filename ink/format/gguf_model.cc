// GPT-2 in GGUF files, with llama.cpp's names for its tensors and keys (general.architecture "gpt2").
#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "ink/base/check.h"
#include "ink/format/element_reader.h"
#include "ink/format/gguf.h"
#include "ink/format/gguf_tokenizer.h"
#include "ink/format/model_io.h"
#include "ink/format/readers.h"
#include "ink/tensor/cast.h"

namespace ink {

namespace {

constexpr std::string_view kArchitecture = "general.architecture";
constexpr std::string_view kContext = "gpt2.context_length", kChannels = "gpt2.embedding_length";
constexpr std::string_view kLayers = "gpt2.block_count", kHeads = "gpt2.attention.head_count";
constexpr std::string_view kHidden = "gpt2.feed_forward_length", kVocab = "gpt2.vocab_size";
constexpr std::string_view kEps = "gpt2.attention.layer_norm_epsilon";
constexpr std::string_view kEmbedding = "token_embd.weight", kHead = "output.weight",
                           kPositions = "position_embd.weight";

// The schema's names, in its order, and GGUF's; "{}" stands for the layer.
constexpr std::array<std::pair<std::string_view, std::string_view>, 17> kNames = {{
    {"wte.weight", kEmbedding},
    {"wpe.weight", kPositions},
    {"h.{}.ln_1.weight", "blk.{}.attn_norm.weight"},
    {"h.{}.ln_1.bias", "blk.{}.attn_norm.bias"},
    {"h.{}.attn.c_attn.weight", "blk.{}.attn_qkv.weight"},
    {"h.{}.attn.c_attn.bias", "blk.{}.attn_qkv.bias"},
    {"h.{}.attn.c_proj.weight", "blk.{}.attn_output.weight"},
    {"h.{}.attn.c_proj.bias", "blk.{}.attn_output.bias"},
    {"h.{}.ln_2.weight", "blk.{}.ffn_norm.weight"},
    {"h.{}.ln_2.bias", "blk.{}.ffn_norm.bias"},
    {"h.{}.mlp.c_fc.weight", "blk.{}.ffn_up.weight"},
    {"h.{}.mlp.c_fc.bias", "blk.{}.ffn_up.bias"},
    {"h.{}.mlp.c_proj.weight", "blk.{}.ffn_down.weight"},
    {"h.{}.mlp.c_proj.bias", "blk.{}.ffn_down.bias"},
    {"ln_f.weight", "output_norm.weight"},
    {"ln_f.bias", "output_norm.bias"},
    {"lm_head.weight", kHead},
}};

std::string gguf_name(const ParamSpec& spec, int64_t layer) {
  const auto found = std::ranges::find(kNames, spec.name, [](const auto& row) { return row.first; });
  std::string name(found->second);
  if (spec.per_layer) name.replace(name.find("{}"), 2, std::to_string(layer));
  return name;
}

// The dimensions, the fastest first.
std::vector<int64_t> gguf_dims(const ParamSpec& spec, const Gpt2Config& config) {
  const Shape shape = spec.shape(config);
  if (shape.rank() == 1) return {shape[0]};
  return {shape[1], spec.vocab_rows ? config.vocab : shape[0]};
}

// Types that are read; Q6_K becomes f16, finer than its six bits.
DType stored_type(uint32_t ggml) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0, DType::q4_0}) {
    if (ggml_type(dtype) == ggml) return dtype;
  }
  return DType::f16;
}

bool can_read(uint32_t ggml) { return ggml == kGgmlQ6K || ggml == 1 || stored_type(ggml) != DType::f16; }

// One block of 256 (block_q6_K in ggml-common.h): 128 bytes with the low four bits, 64 with the high two, 16 int8
// scales and an f16 one. x = d · scale · (q - 32).
void q6_k_to_f32(const std::byte* block, float* out) {
  const auto byte = [block](int i) { return static_cast<int>(block[i]); };
  uint16_t bits;
  std::memcpy(&bits, block + 208, sizeof bits);
  const float d = f16_to_f32(bits);
  for (int half = 0; half < 2; ++half) {
    const int low = half * 64, high = 128 + half * 32, scales = 192 + half * 8;
    for (int part = 0; part < 4; ++part) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = byte(low + part % 2 * 32 + i) >> (part / 2 * 4) & 15;
        const int q = nibble | (byte(high + i) >> (2 * part) & 3) << 4;
        const auto scale = static_cast<int8_t>(block[scales + part * 2 + i / 16]);
        out[half * 128 + part * 32 + i] = d * static_cast<float>(scale) * static_cast<float>(q - 32);
      }
    }
  }
}

std::vector<std::byte> q6_k_to_f16(std::span<const std::byte> data) {
  constexpr size_t kBlock = 256, kBytes = 210;
  std::vector<std::byte> out(data.size() / kBytes * kBlock * sizeof(uint16_t));
  std::array<float, kBlock> values;
  for (size_t i = 0; i < data.size() / kBytes; ++i) {
    q6_k_to_f32(data.data() + i * kBytes, values.data());
    from_f32(values, DType::f16, out.data() + i * kBlock * sizeof(uint16_t));
  }
  return out;
}

class GgufSource final : public ModelSource {
 public:
  explicit GgufSource(const fs::path& path) : file_(path), config_(read_config()) { check_tensors(); }

  std::string description() const override {
    std::set<std::string> matrices;  // types, but for the position embedding's
    for (const auto& [name, tensor] : file_.tensors()) {
      if (tensor.dims.size() == 2 && name != kPositions) matrices.emplace(tensor.type_name);
    }
    std::string types;
    for (const std::string& type : matrices) types += (types.empty() ? "" : "+") + type;
    std::ranges::transform(types, types.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    return fmt::format("{}: GGUF, {}{}", file_.path().string(), types,
                       matrices.contains("Q6_K") ? " (q6_k is read as f16)" : "");
  }
  const Gpt2Config& config() const override { return config_; }

  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    const GgufTensor& entry = file_.tensors().find(gguf_name(spec, layer))->second;
    const bool matrix = entry.dims.size() == 2;
    StoredTensor tensor{stored_type(entry.type), matrix ? Shape{entry.dims[1], entry.dims[0]} : Shape{entry.dims[0]},
                        false, entry.data, nullptr};
    if (entry.type == kGgmlQ6K) {
      const auto values = std::make_shared<const std::vector<std::byte>>(q6_k_to_f16(entry.data));
      file_.drop(entry.data);
      tensor.data = *values;
      tensor.owner = values;
    }
    return tensor;
  }

  void drop(const StoredTensor& tensor) const override {
    if (tensor.owner == nullptr) file_.drop(tensor.data);
  }

  std::shared_ptr<const Tokenizer> tokenizer() const override { return read_tokenizer(file_, config_.vocab); }

 private:
  Gpt2Config read_config() const {
    const std::string where = file_.path().string();
    const std::string_view architecture = file_.at(kArchitecture).text();
    check(architecture == "gpt2", "{}: {} is '{}'; only gpt2 is supported", where, kArchitecture, architecture);
    const auto embedding = file_.tensors().find(kEmbedding);
    check(embedding != file_.tensors().end() && embedding->second.dims.size() == 2, "{}: no matrix '{}'", where,
          kEmbedding);
    Gpt2Config config;
    config.context = file_.at(kContext).whole();
    config.vocab = embedding->second.dims[1];
    config.layers = file_.at(kLayers).whole();
    config.heads = file_.at(kHeads).whole();
    config.channels = file_.at(kChannels).whole();
    config.eps = static_cast<float>(file_.at(kEps).number());
    config.tied = is_tied(embedding->second);
    config.validate(where);
    // Where these are given, they must say what GPT-2 is.
    for (const auto& [key, expected] : {std::pair{kHidden, 4 * config.channels},
                                        {kVocab, config.vocab},
                                        {"gpt2.attention.head_count_kv", config.heads},
                                        {"gpt2.attention.key_length", config.head_size()},
                                        {"gpt2.attention.value_length", config.head_size()}}) {
      const GgufValue* value = file_.find(key);
      check(value == nullptr || value->whole() == expected, "{}: {} is {}, only {} is supported", where, key,
            value != nullptr ? value->whole() : 0, expected);
    }
    return config;
  }

  // Without a head, or with one that repeats the embedding, as old converters wrote.
  bool is_tied(const GgufTensor& embedding) const {
    const auto head = file_.tensors().find(kHead);
    if (head == file_.tensors().end()) return true;
    const bool same = head->second.type == embedding.type && std::ranges::equal(head->second.data, embedding.data);
    file_.drop(head->second.data);
    file_.drop(embedding.data);
    return same;
  }

  // Every tensor of the model is there, with its dimensions and a type that can be read, and no other.
  void check_tensors() const {
    const std::string where = file_.path().string();
    std::set<std::string> known = {std::string(kHead)};
    for_each_param(config_, [&](const ParamSpec& spec, int64_t layer) {
      const std::string name = gguf_name(spec, layer);
      const auto found = file_.tensors().find(name);
      check(found != file_.tensors().end(), "{}: no tensor '{}'", where, name);
      const GgufTensor& tensor = found->second;
      const std::vector<int64_t> dims = gguf_dims(spec, config_);
      if (tensor.dims != dims) {
        fail("{}: tensor '{}' has the dimensions {}, its keys ask for {}", where, name, list(tensor.dims), list(dims));
      }
      check(can_read(tensor.type), "{}: tensor '{}' is {}; F32, F16, BF16, Q8_0, Q4_0 and Q6_K can be read", where,
            name,
            tensor.type_name.empty() ? fmt::format("of the unknown type {}", tensor.type)
                                     : std::string(tensor.type_name));
      known.insert(name);
    });
    for (const auto& [name, tensor] : file_.tensors()) {
      check(known.contains(name), "{}: the tensor '{}' is not part of a GPT-2 of these dimensions", where, name);
    }
  }

  static std::string list(const std::vector<int64_t>& dims) {
    std::string text;
    for (const int64_t dim : dims) text += (text.empty() ? "" : ", ") + std::to_string(dim);
    return "(" + text + ")";
  }

  GgufFile file_;
  Gpt2Config config_;
};

// llama.cpp's enum llama_ftype, for people: what most of the matrices are.
uint32_t file_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q8_0:
      return 7;
    case DType::bf16:
      return 32;
    default:
      return 0;
  }
}

}  // namespace

std::unique_ptr<ModelSource> open_gguf(const fs::path& path) { return std::make_unique<GgufSource>(path); }

DType gguf_dtype(const ParamSpec& spec, const StoredTensor& tensor, const GgufTypes& types) {
  const bool matrix = spec.transposed || spec.vocab_rows;
  if (!matrix) return DType::f32;
  const DType wanted = (spec.vocab_rows ? types.embedding : types.matrices).value_or(tensor.dtype);
  const int64_t row = tensor.transposed ? tensor.shape[0] : tensor.shape[1];
  return row % block_of(wanted) == 0 ? wanted : DType::f16;
}

void save_gguf(const fs::path& path, const ModelSource& source, const GgufTypes& types, const Tokenizer* tokenizer) {
  const Gpt2Config& config = source.config();
  std::vector<GgufOutput> tensors;
  bool quantized = false;
  for_each_param(config, [&](const ParamSpec& spec, int64_t layer) {
    const DType dtype = gguf_dtype(spec, source.tensor(spec, layer), types);
    quantized = quantized || block_of(dtype) > 1;
    const auto write = [&source, &spec, layer, dtype](const GgufOutput::Sink& sink) {
      const StoredTensor tensor = source.tensor(spec, layer);
      ElementReader reader(tensor, dtype, false);
      for (auto piece = reader.next(); !piece.empty(); piece = reader.next()) sink(piece);
      source.drop(tensor);
    };
    tensors.push_back({gguf_name(spec, layer), gguf_dims(spec, config), dtype, write});
  });
  GgufMetadata metadata;
  metadata.add(kArchitecture, "gpt2");
  metadata.add("general.type", "model");
  metadata.add("general.file_type", file_type(types.matrices.value_or(matrix_type(source))));
  if (quantized) metadata.add("general.quantization_version", uint32_t{2});
  metadata.add(kContext, static_cast<uint32_t>(config.context));
  metadata.add(kChannels, static_cast<uint32_t>(config.channels));
  metadata.add(kLayers, static_cast<uint32_t>(config.layers));
  metadata.add(kHidden, static_cast<uint32_t>(4 * config.channels));
  metadata.add(kHeads, static_cast<uint32_t>(config.heads));
  metadata.add(kEps, config.eps);
  metadata.add(kVocab, static_cast<uint32_t>(config.vocab));
  add_tokenizer(metadata, tokenizer, config.vocab);
  write_gguf(path, metadata, tensors);
}

}  // namespace ink
