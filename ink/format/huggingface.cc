// Hugging Face's model directory: config.json and model.safetensors, as transformers' GPT2LMHeadModel saves them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/json.h"
#include "ink/format/model_io.h"
#include "ink/format/readers.h"
#include "ink/format/safetensors.h"

namespace ink {

namespace {

using nlohmann::json;

constexpr const char* kConfigFile = "config.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::string_view kPrefix = "transformer.";
constexpr const char* kHead = "lm_head.weight";

// --- config.json ---

int64_t dimension(const std::string& where, const json& object, const char* key) {
  const auto found = object.find(key);
  check(found != object.end(), "{}: no {}", where, key);
  const int64_t value = whole_number(*found);
  check(value >= 1, "{}: {} is {}, it must be a whole number above 0", where, key, short_dump(*found));
  return value;
}

// A setting that, where it is given, must be one of the values that mean plain GPT-2.
void check_setting(const std::string& where, const json& object, const char* key, const std::vector<json>& accepted) {
  const auto found = object.find(key);
  if (found == object.end() || std::ranges::find(accepted, *found) != accepted.end()) return;
  fail("{}: {} is {}; only {} is supported", where, key, short_dump(*found), accepted.front().dump());
}

Gpt2Config read_config_file(const fs::path& path) {
  const std::string where = path.string();
  const json object = parse_json_object(path, "the file", read_file(path));
  check_setting(where, object, "model_type", {"gpt2"});
  check_setting(where, object, "activation_function", {"gelu_new"});
  check_setting(where, object, "scale_attn_weights", {true});
  check_setting(where, object, "scale_attn_by_inverse_layer_idx", {false});
  check_setting(where, object, "add_cross_attention", {false});
  check_setting(where, object, "tie_word_embeddings", {true});

  Gpt2Config config;
  const bool positions = object.contains("n_positions");
  config.context = dimension(where, object, positions || !object.contains("n_ctx") ? "n_positions" : "n_ctx");
  config.vocab = dimension(where, object, "vocab_size");
  config.layers = dimension(where, object, "n_layer");
  config.heads = dimension(where, object, "n_head");
  config.channels = dimension(where, object, "n_embd");
  if (const auto eps = object.find("layer_norm_epsilon"); eps != object.end()) {
    check(eps->is_number(), "{}: layer_norm_epsilon is {}, not a number", where, short_dump(*eps));
    config.eps = eps->get<float>();
  }
  config.validate(where);
  check_setting(where, object, "n_inner", {nullptr, 4 * config.channels});
  return config;
}

std::string config_text(const Gpt2Config& config) {
  nlohmann::ordered_json object = {
      {"activation_function", "gelu_new"},
      {"architectures", nlohmann::ordered_json::array({"GPT2LMHeadModel"})},
      {"attn_pdrop", 0.0},
      {"embd_pdrop", 0.0},
      {"initializer_range", 0.02},
      // The shortest digits that read back as the same float.
      {"layer_norm_epsilon", std::stod(fmt::format("{}", config.eps))},
      {"model_type", "gpt2"},
      {"n_ctx", config.context},
      {"n_embd", config.channels},
      {"n_head", config.heads},
      {"n_inner", nullptr},
      {"n_layer", config.layers},
      {"n_positions", config.context},
      {"resid_pdrop", 0.0},
      {"tie_word_embeddings", true},
      {"torch_dtype", "float32"},
      {"use_cache", true},
      {"vocab_size", config.vocab},
  };
  if (config.vocab == 50257) {  // <|endoftext|> of GPT-2's tokenizer; other vocabularies need not have one
    object["bos_token_id"] = 50256;
    object["eos_token_id"] = 50256;
  } else {
    object["bos_token_id"] = nullptr;
    object["eos_token_id"] = nullptr;
  }
  return object.dump(2) + "\n";
}

// --- weights ---

constexpr size_t kPiece = size_t{1} << 16;  // elements that are on their way at a time: they stay in the cache

// A tensor's shape in Hugging Face's file.
std::vector<int64_t> file_shape(const ParamSpec& spec, const Gpt2Config& config) {
  const Shape shape = spec.shape(config);
  if (shape.rank() == 1) return {shape[0]};
  if (spec.transposed) return {shape[1], shape[0]};
  return {spec.vocab_rows ? config.vocab : shape[0], shape[1]};
}

// out(cols, rows) = inᵀ, in squares that stay in the cache. Written in order: scattered writes whose distance is a
// power of two times some pages push each other out of the cache, ten times slower.
void transpose(const float* in, int64_t rows, int64_t cols, float* out) {
  constexpr int64_t kSquare = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
    for (int64_t c0 = 0; c0 < cols; c0 += kSquare) {
      for (int64_t c = c0; c < std::min(cols, c0 + kSquare); ++c) {
        for (int64_t r = r0; r < std::min(rows, r0 + kSquare); ++r) out[c * rows + r] = in[r * cols + c];
      }
    }
  }
}

// The causal masks that old versions of transformers saved as buffers of the attention.
bool is_mask(std::string_view name) {
  return name.starts_with("h.") && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

// The tensors of a directory, in one file or in shards, by their names without "transformer.".
class Weights {
 public:
  explicit Weights(const fs::path& directory) {
    const fs::path single = directory / kWeightsFile, index = directory / kIndexFile;
    if (fs::exists(single)) {
      add_file(single);
    } else if (fs::exists(index)) {
      add_shards(directory, index);
    } else {
      fail("{}: no {} and no {} beside {}{}", directory.string(), kWeightsFile, kIndexFile, kConfigFile,
           fs::exists(directory / "pytorch_model.bin")
               ? "; convert pytorch_model.bin with transformers' save_pretrained(..., safe_serialization=True)"
               : "");
    }
  }

  // That every tensor of the model is there with its shape, and no other.
  void check_complete(const Gpt2Config& config) const {
    std::set<std::string> known;
    for (const ParamSpec& spec : gpt2_schema()) {
      if (!spec.in(config)) continue;
      const std::vector<int64_t> shape = file_shape(spec, config);
      for (int64_t layer = 0; layer < (spec.per_layer ? config.layers : 1); ++layer) {
        const std::string name = param_name(spec, layer);
        check_shape(name, shape);
        known.insert(name);
      }
    }
    for (const auto& [name, place] : tensors_) {
      if (known.contains(name) || is_mask(name)) continue;
      check(name == kHead, "{}: the tensor '{}' is not part of a GPT-2 of these dimensions",
            place.file->path().string(), place.name);
      check_tied(config);
    }
  }

  // Calls visit(entry) with the tensor's place in its file. Its memory is given back afterwards.
  template <class Visit>
  void read(const std::string& name, size_t elements, const Visit& visit) const {
    const Place& place = tensors_.at(name);
    const SafetensorsEntry& entry = find_floats(*place.file, place.name, elements);
    visit(entry);
    place.file->drop(entry);
  }

 private:
  struct Place {
    const SafetensorsFile* file;
    std::string name;  // in the file
  };

  void add_file(const fs::path& path) {
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    for (const auto& [full, entry] : files_.back()->entries()) {
      const std::string name = full.starts_with(kPrefix) ? full.substr(kPrefix.size()) : full;
      const auto [first, is_new] = tensors_.try_emplace(name, Place{files_.back().get(), full});
      check(is_new, "{}: the tensor '{}' comes twice, also as '{}' in {}", path.string(), full, first->second.name,
            first->second.file->path().string());
    }
  }

  void add_shards(const fs::path& directory, const fs::path& index) {
    const json object = parse_json_object(index, "the file", read_file(index));
    const auto map = object.find("weight_map");
    check(map != object.end() && map->is_object(), "{}: no weight_map of tensors to files", index.string());
    std::map<std::string, std::vector<std::string>> shards;
    for (const auto& [name, file] : map->items()) {
      const bool plain = file.is_string() && !file.get_ref<const std::string&>().empty() &&
                         fs::path(file.get<std::string>()).filename() == fs::path(file.get<std::string>());
      check(plain, "{}: the tensor '{}' is in {}, which is not a file's name", index.string(), name, short_dump(file));
      shards[file.get<std::string>()].push_back(name);
    }
    for (const auto& [file, names] : shards) {
      add_file(directory / file);
      for (const std::string& name : names) {
        check(files_.back()->find(name) != nullptr, "{}: no tensor '{}', which {} says is here",
              (directory / file).string(), name, kIndexFile);
      }
    }
  }

  void check_shape(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto found = tensors_.find(name);
    check(found != tensors_.end(), "{}: no tensor '{}', which {} asks for", files_.front()->path().string(), name,
          kConfigFile);
    const Place& place = found->second;
    const std::vector<int64_t>& actual = place.file->find(place.name)->shape;
    check(actual == shape, "{}: tensor '{}' has the shape {}, but {} asks for {}", place.file->path().string(),
          place.name, json(actual).dump(), kConfigFile, json(shape).dump());
  }

  // GPT-2's classifier is its embedding.
  void check_tied(const Gpt2Config& config) const {
    check_shape(kHead, {config.vocab, config.channels});
    const auto elements = static_cast<size_t>(config.vocab * config.channels);
    bool same = true;
    read(kHead, elements, [&](const SafetensorsEntry& head) {
      read("wte.weight", elements, [&](const SafetensorsEntry& wte) {
        std::vector<float> a, b;
        for (size_t begin = 0; same && begin < elements; begin += a.size()) {
          a.resize(std::min(kPiece, elements - begin));
          b.resize(a.size());
          read_floats(head, begin, a);
          read_floats(wte, begin, b);
          same = std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
        }
      });
    });
    check(same, "{}: {} differs from wte.weight; a classifier that is not tied to the embedding is not supported",
          tensors_.at(kHead).file->path().string(), kHead);
  }

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> tensors_;
};

}  // namespace

Gpt2Config read_huggingface_config(const fs::path& directory) {
  const Gpt2Config config = read_config_file(directory / kConfigFile);
  Weights(directory).check_complete(config);
  return config;
}

namespace {

// Rows of a weight matrix out of the file, which holds it transposed.
void load_transposed(const SafetensorsEntry& entry, const Tensor& w, Ops& ops) {
  const int64_t rows = w.shape[0], cols = w.shape[1];
  const int64_t step = std::max<int64_t>(32, static_cast<int64_t>(kPiece) / cols);
  std::vector<float> in_file(static_cast<size_t>(step * cols)), values(in_file.size());
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    for (int64_t c = 0; c < cols; ++c) {
      const std::span<float> part(in_file.data() + c * count, static_cast<size_t>(count));
      read_floats(entry, static_cast<size_t>(c * rows + begin), part);
    }
    transpose(in_file.data(), cols, count, values.data());
    ops.upload(w.slice_rows(begin, count), values.data());
  }
}

// A tensor that the file holds as it lies in memory.
void load_straight(const SafetensorsEntry& entry, const Tensor& w, Ops& ops) {
  const Tensor flat(w.data, w.dtype, {w.numel(), 1});
  std::vector<float> values;
  for (int64_t begin = 0; begin < w.numel(); begin += static_cast<int64_t>(values.size())) {
    values.resize(std::min(kPiece, static_cast<size_t>(w.numel() - begin)));
    read_floats(entry, static_cast<size_t>(begin), values);
    ops.upload(flat.slice_rows(begin, static_cast<int64_t>(values.size())), values.data());
  }
}

}  // namespace

void load_huggingface(const fs::path& directory, Gpt2& model) {
  const Weights weights(directory);
  weights.check_complete(model.config());
  for (const Param& param : model.params()) {
    const Tensor& w = param.weight;
    const int64_t rows = param.spec->vocab_rows ? model.config().vocab : w.rows();
    weights.read(param.name, static_cast<size_t>(rows * w.cols()), [&](const SafetensorsEntry& entry) {
      if (param.spec->transposed) {
        load_transposed(entry, w, model.ops());
      } else {
        load_straight(entry, w.slice_rows(0, rows), model.ops());
      }
    });
    model.ops().fill(w.slice_rows(rows, w.rows() - rows), 0);  // the padding of the vocabulary
  }
}

void save_huggingface(const fs::path& directory, const Gpt2& model) {
  std::vector<SafetensorsTensor> tensors;
  std::vector<float> values, in_file;  // of one matrix that is transposed on its way
  for (const Param& param : model.params()) {
    const auto fill = [&values, &in_file, &model, &param](size_t begin, std::span<std::byte> out) {
      const Tensor& w = param.weight;
      if (!param.spec->transposed) {  // without the padding of the vocabulary
        const Tensor part(w.data + begin, w.dtype, {static_cast<int64_t>(out.size() / sizeof(float))});
        return model.ops().download(out.data(), part);
      }
      if (begin == 0) {
        values.resize(static_cast<size_t>(w.numel()));
        in_file.resize(values.size());
        model.ops().download(values.data(), w);
        transpose(values.data(), w.shape[0], w.shape[1], in_file.data());
      }
      std::memcpy(out.data(), std::as_bytes(std::span(in_file)).data() + begin, out.size());
    };
    tensors.push_back({std::string(kPrefix) + param.name, DType::f32, file_shape(*param.spec, model.config()), fill});
  }
  write_file(directory / kConfigFile, config_text(model.config()));
  write_safetensors(directory / kWeightsFile, tensors, {{"format", "pt"}});
}

}  // namespace ink
