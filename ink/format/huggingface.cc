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

// A tensor's shape in Hugging Face's file.
std::vector<int64_t> file_shape(const ParamSpec& spec, const Gpt2Config& config) {
  const Shape shape = spec.shape(config);
  if (shape.rank() == 1) return {shape[0]};
  if (spec.transposed) return {shape[1], shape[0]};
  return {spec.vocab_rows ? config.vocab : shape[0], shape[1]};
}

// out(cols, rows) = inᵀ, in squares that stay in the cache.
void transpose(const float* in, int64_t rows, int64_t cols, float* out) {
  constexpr int64_t kSquare = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
    for (int64_t c0 = 0; c0 < cols; c0 += kSquare) {
      for (int64_t r = r0; r < std::min(rows, r0 + kSquare); ++r) {
        for (int64_t c = c0; c < std::min(cols, c0 + kSquare); ++c) out[c * rows + r] = in[r * cols + c];
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

  void read(const std::string& name, std::span<float> out) const {
    const Place& place = tensors_.at(name);
    read_floats(*place.file, place.name, out);
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
    std::vector<float> head(static_cast<size_t>(config.vocab * config.channels)), wte(head.size());
    read(kHead, head);
    read("wte.weight", wte);
    const Place& place = tensors_.at(kHead);
    check(std::memcmp(head.data(), wte.data(), head.size() * sizeof(float)) == 0,
          "{}: {} differs from wte.weight; a classifier that is not tied to the embedding is not supported",
          place.file->path().string(), kHead);
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

void load_huggingface(const fs::path& directory, Gpt2& model) {
  const Weights weights(directory);
  weights.check_complete(model.config());
  std::vector<float> values, in_file;
  for (const Param& param : model.params()) {
    const Tensor& w = param.weight;
    values.assign(static_cast<size_t>(w.numel()), 0.0f);
    if (param.spec->transposed) {
      in_file.resize(values.size());
      weights.read(param.name, in_file);
      transpose(in_file.data(), w.shape[1], w.shape[0], values.data());
    } else {
      const int64_t rows = param.spec->vocab_rows ? model.config().vocab : w.rows();
      weights.read(param.name, std::span(values).first(static_cast<size_t>(rows * w.cols())));
    }
    model.ops().upload(w, values.data());
  }
}

void save_huggingface(const fs::path& directory, const Gpt2& model) {
  std::vector<SafetensorsTensor> tensors;
  std::vector<float> values;
  for (const Param& param : model.params()) {
    const auto fill = [&values, &model, &param](std::span<std::byte> out) {
      const Tensor& w = param.weight;
      values.resize(static_cast<size_t>(w.numel()));
      model.ops().download(values.data(), w);
      if (param.spec->transposed) {
        transpose(values.data(), w.shape[0], w.shape[1], reinterpret_cast<float*>(out.data()));
      } else {
        std::memcpy(out.data(), values.data(), out.size());  // without the padding of the vocabulary
      }
    };
    tensors.push_back({std::string(kPrefix) + param.name, DType::f32, file_shape(*param.spec, model.config()), fill});
  }
  write_file(directory / kConfigFile, config_text(model.config()));
  write_safetensors(directory / kWeightsFile, tensors, {{"format", "pt"}});
}

}  // namespace ink
