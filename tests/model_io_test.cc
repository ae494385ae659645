// format: models in Hugging Face directories and llm.c's files, round trips and refusals.
#include "ink/format/model_io.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "ink/base/file.h"
#include "ink/format/safetensors.h"
#include "tests/data_fixtures.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

using nlohmann::json;

class ModelIo : public ::testing::Test {
 protected:
  std::vector<float> parameters(const Gpt2& model) {
    std::vector<float> all;
    for (const Param& p : model.params()) {
      const std::vector<float> values = values_of(model, p.weight);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
  // The parameters that a file gives, into a model whose memory held something else.
  std::vector<float> load(const fs::path& path) {
    Gpt2 model(read_model_config(path), {}, *ops_);
    model.allocate();
    for (const Param& p : model.params()) ops_->fill(p.weight, -7);
    load_weights(path, model);
    return parameters(model);
  }

  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("ref", pool_);
  std::unique_ptr<Gpt2> model_ = make_model(*ops_, {});
  const std::vector<float> original_ = parameters(*model_);
  TempDir dir_;
};

TEST_F(ModelIo, DetectsWhatAPathHolds) {
  save_llmc(dir_ / "m.bin", *model_);
  fs::create_directory(dir_ / "hf");
  save_huggingface(dir_ / "hf", *model_);
  EXPECT_EQ(detect_model(dir_ / "m.bin"), ModelFormat::llmc);
  EXPECT_EQ(detect_model(dir_ / "hf"), ModelFormat::huggingface);
  expect_error([&] { detect_model(dir_ / "absent"); }, {"absent", "no such file"});
  expect_error([&] { detect_model(dir_.path()); }, {dir_.path().string(), "config.json"});
  expect_error([&] { detect_model(dir_ / "hf/model.safetensors"); }, {"model.safetensors", "give the folder"});
  write_file(dir_ / "text.bin", "hello");
  expect_error([&] { detect_model(dir_ / "text.bin"); }, {"text.bin", "magic 1819043176", "20240326"});
  write_file(dir_ / "empty.bin", "");
  expect_error([&] { detect_model(dir_ / "empty.bin"); }, {"empty.bin", "0 bytes"});
}

TEST_F(ModelIo, WeightsMustFitTheModel) {
  save_llmc(dir_ / "m.bin", *model_);
  const auto refuse = [&](const Gpt2Config& config, std::initializer_list<std::string_view> texts) {
    Gpt2 other(config, {}, *ops_);
    other.allocate();
    expect_error([&] { load_weights(dir_ / "m.bin", other); }, texts);
  };
  const auto with = [](int64_t Gpt2Config::*field, int64_t value) {
    Gpt2Config config = kTiny;
    config.*field = value;
    return config;
  };
  refuse(with(&Gpt2Config::context, 13), {"m.bin", "context is 12", "13"});
  refuse(with(&Gpt2Config::vocab, 30), {"m.bin", "vocab is 29", "30"});
  refuse(with(&Gpt2Config::layers, 2), {"m.bin", "layers is 3", "2"});
  refuse(with(&Gpt2Config::heads, 5), {"m.bin", "heads is 2", "5"});
  refuse(with(&Gpt2Config::channels, 12), {"m.bin", "channels is 10", "12"});
  Gpt2Config eps = kTiny;
  eps.eps = 1e-3f;
  refuse(eps, {"m.bin", "epsilon", "0.001"});
}

// --- llm.c ---

class Llmc : public ModelIo {
 protected:
  // The file with one header word changed.
  void with_word(size_t index, int32_t value, std::initializer_list<std::string_view> texts) {
    save_llmc(path_, *model_);
    std::string bytes = read_file(path_);
    std::memcpy(bytes.data() + index * 4, &value, 4);
    write_file(path_, bytes);
    SCOPED_TRACE(fmt::format("word {} = {}", index, value));
    expect_error([&] { read_model_config(path_); }, texts);
    expect_error([&] { load_weights(path_, *model_); }, {path_.string()});
  }

  fs::path path_ = dir_ / "model.bin";
};

TEST_F(Llmc, RoundTripsFloats) {
  save_llmc(path_, *model_);
  EXPECT_EQ(read_model_config(path_), kTiny);
  EXPECT_EQ(load(path_), original_);
  EXPECT_EQ(fs::file_size(path_), 1024 + 4 * (kTiny.parameters() + (128 - 29) * 10));
}

TEST_F(Llmc, RoundTripsBf16Rounded) {
  save_llmc(path_, *model_, true);
  std::vector<float> rounded = original_;
  for (float& x : rounded) x = bf16_to_f32(f32_to_bf16(x));
  EXPECT_NE(rounded, original_);
  EXPECT_EQ(load(path_), rounded);
  EXPECT_EQ(fs::file_size(path_), 1024 + 2 * (kTiny.parameters() + (128 - 29) * 10));
}

TEST_F(Llmc, FilesAreLaidOutAsLlmcReadsThem) {
  save_llmc(path_, *model_);
  const std::string bytes = read_file(path_);
  std::array<int32_t, 256> header;
  std::memcpy(header.data(), bytes.data(), sizeof header);
  EXPECT_EQ(std::vector(header.begin(), header.begin() + 9),
            (std::vector<int32_t>{20240326, 3, 12, 29, 3, 2, 10, 128, 0}));
  // All layers of a tensor one after another.
  size_t offset = 1024;
  for (const ParamSpec& spec : gpt2_schema()) {
    for (const Param& p : model_->params()) {
      if (p.spec != &spec) continue;
      ASSERT_EQ(std::memcmp(bytes.data() + offset, values_of(*model_, p.weight).data(), p.weight.bytes()), 0) << p.name;
      offset += p.weight.bytes();
    }
  }
  EXPECT_EQ(offset, bytes.size());
}

TEST_F(Llmc, TakesAnyPaddingOfTheVocabulary) {
  save_llmc(path_, *model_);
  const std::string bytes = read_file(path_);
  const size_t row = 10 * sizeof(float), wte_end = 1024 + 128 * row;
  for (const int32_t padded : {29, 30, 64, 200}) {
    std::string other = bytes.substr(0, 1024 + 29 * row);
    other.append(static_cast<size_t>(padded - 29) * row, '\x42');  // padding may hold anything
    other += bytes.substr(wte_end);
    std::memcpy(other.data() + 7 * 4, &padded, 4);
    write_file(path_, other);
    EXPECT_EQ(load(path_), original_) << padded;
  }
}

TEST_F(Llmc, RefusesHeadersThatLie) {
  with_word(0, 20240520, {path_.string(), "magic 20240520", "20240326"});
  for (const int32_t version : {0, 1, 2, 4, 6, -3}) {
    with_word(1, version, {path_.string(), fmt::format("version {} ", version), "3 (f32) and 5 (bf16)"});
  }
  with_word(1, 5, {path_.string(), "bytes after the end"});
  const std::pair<size_t, const char*> dimensions[] = {
      {2, "context"}, {3, "vocab"}, {4, "layers"}, {5, "heads"}, {6, "channels"}};
  for (const auto& [index, name] : dimensions) {
    for (const int32_t value : {0, -1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
      with_word(index, value, {path_.string(), fmt::format("{} is {}", name, value)});
    }
  }
  with_word(2, 13, {path_.string(), "truncated"});
  with_word(2, 11, {path_.string(), "bytes after the end"});
  with_word(4, 1024, {"truncated"});
  with_word(5, 3, {"multiple of heads (3)"});
  with_word(6, 65536, {"truncated"});
  with_word(7, 28, {"padded vocabulary 28", "29"});
  with_word(7, -1, {"padded vocabulary -1"});
  with_word(7, std::numeric_limits<int32_t>::max(), {"padded vocabulary 2147483647"});
}

TEST_F(Llmc, RefusesFilesOfTheWrongSize) {
  save_llmc(path_, *model_);
  const std::string good = read_file(path_);
  for (const size_t size : {good.size() - 1, good.size() - 4, size_t{1024}}) {
    write_file(path_, good.substr(0, size));
    expect_error([&] { read_model_config(path_); },
                 {path_.string(), std::to_string(size), std::to_string(good.size()), "truncated"});
  }
  write_file(path_, good.substr(0, 1023));
  expect_error([&] { read_model_config(path_); }, {path_.string(), "1023 bytes", "1024"});
  write_file(path_, good + "x");
  expect_error([&] { read_model_config(path_); }, {path_.string(), "bytes after the end"});
}

TEST_F(Llmc, RefusesWhatTheFormatCannotHold) {
  Gpt2Config config = kTiny;
  config.eps = 1e-6f;
  const auto other = make_model(*ops_, {}, config);
  expect_error([&] { save_llmc(path_, *other); }, {path_.string(), "epsilon"});
  config = kTiny;
  config.tied = false;
  expect_error([&] { save_llmc(path_, *make_model(*ops_, {}, config)); }, {path_.string(), "lm_head.weight"});
  EXPECT_FALSE(fs::exists(path_));
  expect_error([&] { save_llmc(dir_ / "absent/m.bin", *model_); }, {"absent"});
}

// --- Hugging Face ---

class HuggingFace : public ModelIo {
 protected:
  struct Stored {
    std::string dtype = "F32";
    std::vector<int64_t> shape;
    std::string bytes;
  };
  using Tensors = std::map<std::string, Stored>;

  HuggingFace() { save_huggingface(dir_.path(), *model_); }

  Tensors tensors() {
    Tensors all;
    const SafetensorsFile file(weights_);
    for (const auto& [name, entry] : file.entries()) {
      all[name] = {entry.dtype, entry.shape, {reinterpret_cast<const char*>(entry.data.data()), entry.data.size()}};
    }
    return all;
  }
  static void write(const fs::path& path, const Tensors& tensors) {
    json header;
    std::string data;
    for (const auto& [name, t] : tensors) {
      header[name] = {
          {"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
      data += t.bytes;
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    write_file(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
  }
  void expect_weights_refused(const std::function<void(Tensors&)>& change,
                              std::initializer_list<std::string_view> texts) {
    Tensors changed = good_;
    change(changed);
    write(weights_, changed);
    expect_error([&] { read_model_config(dir_.path()); }, texts);
    expect_error([&] { load_weights(dir_.path(), *model_); }, {"model.safetensors"});
  }
  void expect_config_refused(const std::string& key, const json& value, std::initializer_list<std::string_view> texts) {
    json config = good_config_;
    if (value.is_discarded()) {
      config.erase(key);
    } else {
      config[key] = value;
    }
    write_file(config_, config.dump());
    SCOPED_TRACE(config.dump());
    expect_error([&] { read_model_config(dir_.path()); }, texts);
    expect_error([&] { read_model_config(dir_.path()); }, {config_.string()});
  }
  static Stored narrowed(const Stored& t, DType dtype) {
    Stored narrow{dtype == DType::bf16 ? "BF16" : "F16", t.shape, std::string(t.bytes.size() / 2, '\0')};
    for (size_t i = 0; i < t.bytes.size() / 4; ++i) {
      float value;
      std::memcpy(&value, t.bytes.data() + i * 4, 4);
      const uint16_t bits = dtype == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
      std::memcpy(narrow.bytes.data() + i * 2, &bits, 2);
    }
    return narrow;
  }

  const fs::path weights_ = dir_ / "model.safetensors";
  const fs::path config_ = dir_ / "config.json";
  Tensors good_;
  json good_config_;

  void SetUp() override {
    good_ = tensors();
    good_config_ = json::parse(read_file(config_));
  }
};

TEST_F(HuggingFace, RoundTripsBitForBit) {
  EXPECT_EQ(read_model_config(dir_.path()), kTiny);
  EXPECT_EQ(load(dir_.path()), original_);
}

TEST_F(HuggingFace, KeepsOtherEpsilons) {
  Gpt2Config config = kTiny;
  config.eps = 1.2345678e-6f;
  save_huggingface(dir_.path(), *make_model(*ops_, {}, config));
  EXPECT_EQ(read_model_config(dir_.path()), config);
}

TEST_F(HuggingFace, WritesWhatTransformersExpects) {
  EXPECT_EQ(good_.size(), 4u + 12 * 3);
  EXPECT_EQ(good_.at("transformer.wte.weight").shape, (std::vector<int64_t>{29, 10}));
  EXPECT_EQ(good_.at("transformer.h.2.attn.c_attn.weight").shape, (std::vector<int64_t>{10, 30}));
  EXPECT_EQ(good_.at("transformer.h.2.mlp.c_proj.weight").shape, (std::vector<int64_t>{40, 10}));
  EXPECT_EQ(good_.at("transformer.ln_f.bias").shape, (std::vector<int64_t>{10}));
  EXPECT_EQ(SafetensorsFile(weights_).metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(good_config_["architectures"], json::array({"GPT2LMHeadModel"}));
  EXPECT_EQ(good_config_["model_type"], "gpt2");
  EXPECT_EQ(good_config_["n_positions"], 12);
  EXPECT_EQ(good_config_["n_embd"], 10);
  EXPECT_EQ(good_config_["n_inner"], nullptr);
  EXPECT_EQ(good_config_["layer_norm_epsilon"], 1e-5);
  EXPECT_EQ(good_config_["torch_dtype"], "float32");
  EXPECT_EQ(good_config_["tie_word_embeddings"], true);
  EXPECT_EQ(good_config_["eos_token_id"], nullptr);

  Gpt2Config gpt2_vocab = kTiny;
  gpt2_vocab.vocab = 50257;
  const auto model = make_model(*ops_, {}, gpt2_vocab);
  const auto expect_end = [&](const Tokenizer* tokenizer, const json& id) {
    save_huggingface(dir_.path(), *model, tokenizer);
    EXPECT_EQ(json::parse(read_file(config_))["eos_token_id"], id);
    EXPECT_EQ(json::parse(read_file(config_))["bos_token_id"], id);
  };
  expect_end(nullptr, nullptr);  // the size of a vocabulary tells nothing
  EXPECT_FALSE(fs::exists(dir_ / "tokenizer.json"));
  expect_end(make_byte_tokenizer().get(), nullptr);
  EXPECT_TRUE(fs::exists(dir_ / "tokenizer.json"));
  expect_end(make_gpt2_tokenizer().get(), 50256);
  const WordTokenizer words;
  expect_end(&words, 256);
}

TEST_F(HuggingFace, TakesNamesWithoutThePrefix) {
  Tensors bare;
  for (const auto& [name, t] : good_) bare[name.substr(std::string("transformer.").size())] = t;
  write(weights_, bare);
  EXPECT_EQ(load(dir_.path()), original_);
}

TEST_F(HuggingFace, TakesHalfPrecision) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    Tensors half;
    for (const auto& [name, t] : good_) half[name] = narrowed(t, dtype);
    write(weights_, half);
    std::vector<float> rounded = original_;
    for (float& x : rounded) x = dtype == DType::f16 ? f16_to_f32(f32_to_f16(x)) : bf16_to_f32(f32_to_bf16(x));
    EXPECT_EQ(load(dir_.path()), rounded) << name_of(dtype);
  }
}

TEST_F(HuggingFace, IgnoresMasksAndTakesATiedHead) {
  Tensors more = good_;
  more["transformer.h.0.attn.bias"] = {"U8", {1, 1, 2, 2}, "\1\1\1\1"};
  more["transformer.h.2.attn.masked_bias"] = {"F32", {}, std::string(4, '\0')};
  more["lm_head.weight"] = good_.at("transformer.wte.weight");
  write(weights_, more);
  EXPECT_EQ(load(dir_.path()), original_);
}

TEST_F(HuggingFace, RoundTripsAnUntiedHead) {
  Gpt2Config config = kTiny;
  config.tied = false;
  const auto untied = make_model(*ops_, {}, config);
  save_huggingface(dir_.path(), *untied);
  EXPECT_EQ(tensors().at("lm_head.weight").shape, (std::vector<int64_t>{29, 10}));
  EXPECT_EQ(json::parse(read_file(config_))["tie_word_embeddings"], false);
  EXPECT_EQ(read_model_config(dir_.path()), config);
  EXPECT_EQ(load(dir_.path()), parameters(*untied));
  expect_error([&] { load_weights(dir_.path(), *model_); }, {dir_.path().string(), "classifier is not the token"});

  Tensors headless = tensors();
  headless.erase("lm_head.weight");
  write(weights_, headless);
  expect_error([&] { read_model_config(dir_.path()); }, {weights_.string(), "no tensor 'lm_head.weight'"});
}

// As transformers since version 5: config.json says that the head is tied, the weights that it is not.
TEST_F(HuggingFace, AHeadThatDiffersIsUntied) {
  Tensors more = good_;
  more["lm_head.weight"] = good_.at("transformer.wte.weight");
  more["lm_head.weight"].bytes[6] ^= 1;
  write(weights_, more);
  EXPECT_FALSE(read_model_config(dir_.path()).tied);
  EXPECT_NE(load(dir_.path()), original_);
}

TEST_F(HuggingFace, WritesAndKeepsHalfPrecision) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    save_huggingface(dir_.path(), *model_source(*model_), dtype);
    const Tensors first = tensors();
    for (const auto& [name, t] : good_) EXPECT_EQ(first.at(name).bytes, narrowed(t, dtype).bytes) << name;
    EXPECT_EQ(json::parse(read_file(config_))["torch_dtype"], dtype == DType::f16 ? "float16" : "bfloat16");
    // Values that no narrowing would give: copying keeps the bits of a NaN.
    Tensors odd = first;
    odd["transformer.h.1.mlp.c_fc.weight"].bytes[2] = '\x01';
    odd["transformer.h.1.mlp.c_fc.weight"].bytes[3] = '\x7f';
    write(weights_, odd);
    const auto source = open_model(dir_.path());
    EXPECT_EQ(matrix_type(*source), dtype);
    EXPECT_EQ(lossless_type(*source), dtype);
    const TempDir copy;
    save_huggingface(copy.path(), *source, dtype);
    const SafetensorsFile file(copy / "model.safetensors");
    for (const auto& [name, t] : odd) {
      const auto data = file.find(name)->data;
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), data.size()), t.bytes) << name;
    }
  }
}

TEST_F(HuggingFace, ReadsShards) {
  Tensors first, second;
  json map;
  for (const auto& [name, t] : good_) {
    (first.size() <= second.size() ? first : second)[name] = t;
    map[name] = first.contains(name) ? "model-1.safetensors" : "model-2.safetensors";
  }
  write(dir_ / "model-1.safetensors", first);
  write(dir_ / "model-2.safetensors", second);
  fs::remove(weights_);
  const fs::path index = dir_ / "model.safetensors.index.json";
  write_file(index, json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
  EXPECT_EQ(load(dir_.path()), original_);

  const auto refuse = [&](const json& text, std::initializer_list<std::string_view> texts) {
    write_file(index, text.dump());
    expect_error([&] { read_model_config(dir_.path()); }, texts);
  };
  refuse(json::array(), {index.string(), "not a JSON object"});
  refuse({{"weight_map", 7}}, {index.string(), "weight_map"});
  refuse({{"metadata", 7}}, {index.string(), "weight_map"});
  refuse({{"weight_map", json::object()}}, {index.string(), "empty"});
  for (const json& name : {json(7), json(""), json("../model-1.safetensors"), json("/model-1.safetensors")}) {
    refuse({{"weight_map", {{"x", name}}}}, {index.string(), "'x'", "not a file's name"});
  }
  json absent = map;
  absent["transformer.wte.weight"] = "model-3.safetensors";
  refuse({{"weight_map", absent}}, {"model-3.safetensors"});
  json moved = map;
  moved["transformer.wte.weight"] =
      map["transformer.wte.weight"] == "model-1.safetensors" ? "model-2.safetensors" : "model-1.safetensors";
  refuse({{"weight_map", moved}}, {"no tensor 'transformer.wte.weight'", "index.json"});
  write(dir_ / "model-2.safetensors", good_);
  refuse({{"weight_map", map}}, {"comes twice", "model-1.safetensors"});
}

TEST_F(HuggingFace, RefusesWeightsThatDoNotFitTheConfig) {
  const std::string name = "transformer.h.1.mlp.c_fc.weight";
  expect_weights_refused([&](Tensors& t) { t.erase(name); }, {weights_.string(), "no tensor 'h.1.mlp.c_fc.weight'"});
  expect_weights_refused(
      [&](Tensors& t) {
        t[name].shape = {40, 10};
      },
      {weights_.string(), name, "[40,10]", "[10,40]"});
  expect_weights_refused([&](Tensors& t) { t[name].shape = {400}; }, {name, "[400]"});
  expect_weights_refused([&](Tensors& t) { t["transformer.h.3.ln_1.bias"] = t["transformer.h.2.ln_1.bias"]; },
                         {weights_.string(), "transformer.h.3.ln_1.bias", "not part"});
  expect_weights_refused([&](Tensors& t) { t["ln_f.bias"] = t["transformer.ln_f.bias"]; },
                         {"'transformer.ln_f.bias' comes twice", "'ln_f.bias'"});
  expect_weights_refused([&](Tensors& t) { t["lm_head.weight"] = t["transformer.wpe.weight"]; },
                         {"lm_head.weight", "[12,10]", "[29,10]"});
}

TEST_F(HuggingFace, RefusesTypesThatAreNoFloats) {
  Tensors changed = good_;
  changed["transformer.ln_f.bias"].dtype = "I32";
  write(weights_, changed);
  expect_error([&] { read_model_config(dir_.path()); }, {weights_.string(), "transformer.ln_f.bias", "I32"});
}

TEST_F(HuggingFace, RefusesTruncatedAndMissingWeights) {
  const std::string good = read_file(weights_);
  write_file(weights_, good.substr(0, good.size() - 1));
  expect_error([&] { read_model_config(dir_.path()); }, {weights_.string(), "truncated"});
  fs::remove(weights_);
  expect_error([&] { read_model_config(dir_.path()); }, {dir_.path().string(), "no model.safetensors"});
  write_file(dir_ / "pytorch_model.bin", "x");
  expect_error([&] { read_model_config(dir_.path()); }, {"convert pytorch_model.bin"});
}

TEST_F(HuggingFace, RefusesConfigsThatLie) {
  const json absent(json::value_t::discarded);
  for (const char* key : {"n_embd", "n_head", "n_layer", "vocab_size"}) {
    expect_config_refused(key, absent, {fmt::format("no {}", key)});
    for (const json& value : {json(0), json(-1), json(12.0), json(2.5), json("12"), json(nullptr), json(true),
                              json(json::array({1})), json(std::numeric_limits<uint64_t>::max()), json(1e300)}) {
      expect_config_refused(key, value, {fmt::format("{} is {}", key, value.dump())});
    }
    expect_config_refused(key, int64_t{1} << 40, {"1099511627776"});
  }
  expect_config_refused("n_positions", 0, {"n_positions is 0"});
  expect_config_refused("n_head", 3, {"multiple of heads (3)"});
  expect_config_refused("layer_norm_epsilon", "1e-5", {"layer_norm_epsilon is \"1e-5\""});
  expect_config_refused("layer_norm_epsilon", -1, {"epsilon is -1"});
  expect_config_refused("activation_function", "relu", {"activation_function is \"relu\"", "gelu_new"});
  expect_config_refused("model_type", "llama", {"model_type is \"llama\"", "gpt2"});
  expect_config_refused("n_inner", 64, {"n_inner is 64"});
  expect_config_refused("scale_attn_weights", false, {"scale_attn_weights is false"});
  expect_config_refused("scale_attn_by_inverse_layer_idx", true, {"scale_attn_by_inverse_layer_idx is true"});
  expect_config_refused("tie_word_embeddings", 0, {"tie_word_embeddings is 0"});
  const std::pair<const char*, const char*> texts[] = {{"", "not valid JSON"},
                                                       {"{", "not valid JSON"},
                                                       {"[]", "array"},
                                                       {"{\"n_embd\":1e999}", "too large"},
                                                       {"{\"n_embd\":1,\"n_embd\":2}", "\"n_embd\" twice"}};
  for (const auto& [text, message] : texts) {
    write_file(config_, text);
    expect_error([&] { read_model_config(dir_.path()); }, {config_.string(), message});
  }
}

TEST_F(HuggingFace, RefusesConfigsOfOtherWeights) {
  json config = good_config_;
  config["n_positions"] = 13;
  write_file(config_, config.dump());
  expect_error([&] { read_model_config(dir_.path()); },
               {weights_.string(), "transformer.wpe.weight", "[12,10]", "config.json asks for [13,10]"});
}

TEST_F(HuggingFace, TakesOldConfigs) {
  json config = good_config_;
  config.erase("n_positions");  // n_ctx stands for it
  config.erase("layer_norm_epsilon");
  config.erase("activation_function");
  config["n_inner"] = 40;
  write_file(config_, config.dump());
  EXPECT_EQ(read_model_config(dir_.path()), kTiny);
  config.erase("n_ctx");
  write_file(config_, config.dump());
  expect_error([&] { read_model_config(dir_.path()); }, {config_.string(), "no n_positions"});
}

}  // namespace
}  // namespace ink
