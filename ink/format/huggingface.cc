// Hugging Face's model directory: config.json and model.safetensors, as transformers' GPT2LMHeadModel saves them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/element_reader.h"
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
constexpr const char* kEmbedding = "wte.weight";

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
  check_setting(where, object, "tie_word_embeddings", {true, false});

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
  config.tied = object.value("tie_word_embeddings", true);
  config.validate(where);
  check_setting(where, object, "n_inner", {nullptr, 4 * config.channels});
  return config;
}

std::string_view torch_name(DType dtype) {
  return dtype == DType::f16 ? "float16" : dtype == DType::bf16 ? "bfloat16" : "float32";
}

// The tokenizer may be null. transformers stops generating at eos_token_id, and begins at bos_token_id without a
// prompt.
std::string config_text(const Gpt2Config& config, DType dtype, const Tokenizer* tokenizer) {
  const std::optional<int> end = tokenizer != nullptr ? tokenizer->end_of_text() : std::nullopt;
  const nlohmann::ordered_json end_id = end ? nlohmann::ordered_json(*end) : nlohmann::ordered_json();
  const nlohmann::ordered_json object = {
      {"activation_function", "gelu_new"},
      {"architectures", nlohmann::ordered_json::array({"GPT2LMHeadModel"})},
      {"attn_pdrop", 0.0},
      {"bos_token_id", end_id},
      {"embd_pdrop", 0.0},
      {"eos_token_id", end_id},
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
      {"tie_word_embeddings", config.tied},
      {"torch_dtype", torch_name(dtype)},
      {"use_cache", true},
      {"vocab_size", config.vocab},
  };
  return object.dump(2) + "\n";
}

// --- weights ---

// A tensor's shape in Hugging Face's file.
std::vector<int64_t> file_shape(const ParamSpec& spec, const Gpt2Config& config) {
  const Shape shape = spec.shape(config);
  if (shape.rank() == 1) return {shape[0]};
  if (spec.transposed) return {shape[1], shape[0]};
  return {spec.vocab_rows ? config.vocab : shape[0], shape[1]};
}

// The causal masks that old versions of transformers saved as buffers of the attention.
bool is_mask(std::string_view name) {
  return name.starts_with("h.") && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

// The name that a tensor has in Hugging Face's files today.
std::string file_name(const ParamSpec& spec, int64_t layer) {
  const std::string name = param_name(spec, layer);
  return name == kHead ? name : std::string(kPrefix) + name;
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

  // That every tensor of the model is there with its shape and a type that can be read, and no other. A classifier that
  // differs from the embedding unties the model, whatever config.json says, as in transformers since version 5.
  void check_complete(Gpt2Config& config) const {
    if (config.tied && tensors_.contains(kHead)) {
      check_tensor(kHead, {config.vocab, config.channels});
      check_tensor(kEmbedding, {config.vocab, config.channels});
      config.tied = same_bytes(kHead, kEmbedding);
    }
    std::set<std::string> known = {kHead};
    for_each_param(config, [&](const ParamSpec& spec, int64_t layer) {
      const std::string name = param_name(spec, layer);
      check_tensor(name, file_shape(spec, config));
      known.insert(name);
    });
    for (const auto& [name, place] : tensors_) {
      check(known.contains(name) || is_mask(name), "{}: the tensor '{}' is not part of a GPT-2 of these dimensions",
            place.file->path().string(), place.name);
    }
  }

  const SafetensorsEntry& entry(const std::string& name) const {
    const Place& place = tensors_.at(name);
    return *place.file->find(place.name);
  }

  void drop(std::span<const std::byte> data) const {
    for (const auto& file : files_) file->drop(data);
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
    check(!shards.empty(), "{}: weight_map is empty", index.string());
    for (const auto& [file, names] : shards) {
      add_file(directory / file);
      for (const std::string& name : names) {
        check(files_.back()->find(name) != nullptr, "{}: no tensor '{}', which {} says is here",
              (directory / file).string(), name, kIndexFile);
      }
    }
  }

  void check_tensor(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto found = tensors_.find(name);
    check(found != tensors_.end(), "{}: no tensor '{}', which {} asks for", files_.front()->path().string(), name,
          kConfigFile);
    const Place& place = found->second;
    const std::vector<int64_t>& actual = place.file->find(place.name)->shape;
    check(actual == shape, "{}: tensor '{}' has the shape {}, but {} asks for {}", place.file->path().string(),
          place.name, json(actual).dump(), kConfigFile, json(shape).dump());
    int64_t elements = 1;
    for (const int64_t dim : shape) elements *= dim;
    find_floats(*place.file, place.name, static_cast<size_t>(elements));
  }

  bool same_bytes(const std::string& left, const std::string& right) const {
    const SafetensorsEntry &a = entry(left), &b = entry(right);
    const bool same = a.dtype == b.dtype && std::ranges::equal(a.data, b.data);
    drop(a.data);
    drop(b.data);
    return same;
  }

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> tensors_;
};

class HuggingFaceSource final : public ModelSource {
 public:
  explicit HuggingFaceSource(const fs::path& directory)
      : directory_(directory), config_(read_config_file(directory / kConfigFile)), weights_(directory) {
    weights_.check_complete(config_);
  }

  std::string description() const override {
    return fmt::format("{}: Hugging Face model folder, {}", directory_.string(), name_of(matrix_type(*this)));
  }
  const Gpt2Config& config() const override { return config_; }

  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    const SafetensorsEntry& entry = weights_.entry(param_name(spec, layer));
    const bool matrix = entry.shape.size() == 2;
    return {floats_type(entry), matrix ? Shape{entry.shape[0], entry.shape[1]} : Shape{entry.shape[0]}, spec.transposed,
            entry.data, nullptr};
  }

  void drop(const StoredTensor& tensor) const override { weights_.drop(tensor.data); }

  std::shared_ptr<const Tokenizer> tokenizer() const override {
    const bool there = fs::exists(directory_ / "tokenizer.json") || fs::exists(directory_ / "vocab.json");
    return there ? load_tokenizer(directory_) : nullptr;
  }

 private:
  fs::path directory_;
  Gpt2Config config_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<ModelSource> open_huggingface(const fs::path& directory) {
  return std::make_unique<HuggingFaceSource>(directory);
}

void write_huggingface_config(const fs::path& directory, const Gpt2Config& config, DType dtype,
                              const Tokenizer* tokenizer) {
  write_file(directory / kConfigFile, config_text(config, dtype, tokenizer));
  if (tokenizer != nullptr) tokenizer->save(directory);
}

void save_huggingface(const fs::path& directory, const ModelSource& source, DType dtype, const Tokenizer* tokenizer) {
  const Gpt2Config& config = source.config();
  // The tensors are written in order, one at a time: the one under way and its reader.
  StoredTensor stored;
  std::optional<ElementReader> reader;
  std::vector<SafetensorsTensor> tensors;
  for_each_param(config, [&](const ParamSpec& spec, int64_t layer) {
    const auto fill = [&stored, &reader, &source, &spec, layer, dtype](size_t begin, std::span<std::byte> out) {
      if (begin == 0) {
        stored = source.tensor(spec, layer);
        reader.emplace(stored, dtype, spec.transposed);
      }
      reader->read(out);
      if (begin + out.size() == bytes_of(dtype, stored.shape.numel())) source.drop(stored);
    };
    tensors.push_back({file_name(spec, layer), dtype, file_shape(spec, config), fill});
  });
  write_huggingface_config(directory, config, dtype, tokenizer);
  write_safetensors(directory / kWeightsFile, tensors, {{"format", "pt"}});
}

}  // namespace ink
