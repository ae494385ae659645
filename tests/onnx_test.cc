// format: ONNX files, read back through the format's own schema.
#include "ink/format/onnx.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/rng.h"
#include "ink/format/onnx_proto.h"
#include "ink/tensor/cast.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

// Random parameters in memory, stored as somebody's file might hold them.
class MemorySource : public ModelSource {
 public:
  struct How {
    DType dtype = DType::f32;
    bool transposed = true;  // the matrices of the layers lie as (in, out)
    bool tied = true;
  };

  explicit MemorySource(const How& how) : how_(how), config_{16, 32, 2, 2, 32} {
    config_.tied = how.tied;
    Mt19937 rng(3);
    for_each_param(config_, [&](const ParamSpec& spec, int64_t layer) {
      const Shape shape = stored_shape(spec);
      std::vector<float> values(static_cast<size_t>(shape.numel()));
      rng.normal(values, 0, 0.2f);
      std::vector<std::byte>& bytes = data_[param_name(spec, layer)];
      bytes.resize(bytes_of(dtype_of_spec(spec), shape.numel()));
      from_f32(values, dtype_of_spec(spec), bytes.data());
    });
  }

  std::string description() const override { return "memory"; }
  const Gpt2Config& config() const override { return config_; }
  StoredTensor tensor(const ParamSpec& spec, int64_t layer) const override {
    const std::string name = param_name(spec, layer);
    if (reads++ == fail_at) fail("{}: the disk has gone", name);
    return {dtype_of_spec(spec), stored_shape(spec), spec.transposed && how_.transposed, data_.at(name), nullptr};
  }

  std::vector<float> values(const std::string& name) const {
    std::vector<float> result;
    for_each_param(config_, [&](const ParamSpec& spec, int64_t layer) {
      if (param_name(spec, layer) != name) return;
      const StoredTensor stored = tensor(spec, layer);
      result.resize(static_cast<size_t>(stored.shape.numel()));
      read_elements(stored, 0, result);
    });
    return result;
  }
  void set(const std::string& name, float value) { std::memcpy(data_.at(name).data(), &value, sizeof value); }

  mutable int reads = 0;
  int fail_at = -1;  // the read that fails

 private:
  DType dtype_of_spec(const ParamSpec& spec) const {
    return spec.shape(config_).rank() == 2 ? how_.dtype : DType::f32;  // as quantized files do
  }
  Shape stored_shape(const ParamSpec& spec) const {
    const Shape shape = spec.shape(config_);
    if (spec.vocab_rows) return {config_.vocab, shape[1]};
    return spec.transposed && how_.transposed ? Shape{shape[1], shape[0]} : shape;
  }

  How how_;
  Gpt2Config config_;
  std::map<std::string, std::vector<std::byte>> data_;
};

class Onnx : public testing::Test {
 protected:
  onnx::ModelProto load(const fs::path& name = "model.onnx") const {
    onnx::ModelProto model;
    EXPECT_TRUE(model.ParseFromString(read_file(dir_ / name)));
    return model;
  }
  onnx::ModelProto save(const MemorySource& source, const OnnxOptions& options = {}) const {
    save_onnx(dir_ / "model.onnx", source, options);
    return load();
  }
  // Expects an Error with all the texts.
  template <class Call>
  static void fails(const Call& call, std::initializer_list<std::string_view> texts) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      for (const std::string_view text : texts) {
        EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << text << " is not in: " << error.what();
      }
    }
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }

  TempDir dir_;
};

// "logits f32 (batch, sequence, 32)".
std::string describe(const onnx::ValueInfoProto& value) {
  std::string text = value.name() + (value.type().tensor_type().elem_type() == onnx::TensorProto::FLOAT     ? " f32 ("
                                     : value.type().tensor_type().elem_type() == onnx::TensorProto::FLOAT16 ? " f16 ("
                                                                                                            : " i64 (");
  const char* comma = "";
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    text += comma + (dim.has_dim_param() ? dim.dim_param() : std::to_string(dim.dim_value()));
    comma = ", ";
  }
  return text + ")";
}

std::vector<std::string> describe(const google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>& values) {
  std::vector<std::string> texts;
  for (const onnx::ValueInfoProto& value : values) texts.push_back(describe(value));
  return texts;
}

const onnx::TensorProto& initializer(const onnx::ModelProto& model, const std::string& name) {
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    if (tensor.name() == name) return tensor;
  }
  throw Error("no initializer " + name);
}

const onnx::NodeProto& node(const onnx::ModelProto& model, const std::string& output) {
  for (const onnx::NodeProto& node : model.graph().node()) {
    if (node.output(0) == output) return node;
  }
  throw Error("no node " + output);
}

int64_t int_attribute(const onnx::NodeProto& node, const std::string& name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return attribute.i();
  }
  throw Error("no attribute " + name);
}

std::vector<float> floats(const onnx::TensorProto& tensor) {
  const bool half = tensor.data_type() == onnx::TensorProto::FLOAT16;
  std::vector<float> values(tensor.raw_data().size() / (half ? 2 : 4));
  to_f32(half ? DType::f16 : DType::f32, reinterpret_cast<const std::byte*>(tensor.raw_data().data()), values);
  return values;
}

// Every input of a node was made before it, every name is made once, every output of the graph exists.
void expect_sound(const onnx::ModelProto& model) {
  std::set<std::string> known;
  for (const auto& input : model.graph().input()) EXPECT_TRUE(known.insert(input.name()).second) << input.name();
  for (const auto& tensor : model.graph().initializer()) EXPECT_TRUE(known.insert(tensor.name()).second);
  std::set<std::string> used;
  for (const auto& n : model.graph().node()) {
    for (const std::string& input : n.input()) {
      EXPECT_TRUE(known.contains(input)) << n.name() << " wants " << input;
      used.insert(input);
    }
    for (const std::string& output : n.output()) EXPECT_TRUE(known.insert(output).second) << output;
  }
  for (const auto& output : model.graph().output()) EXPECT_TRUE(known.contains(output.name())) << output.name();
  for (const auto& tensor : model.graph().initializer()) EXPECT_TRUE(used.contains(tensor.name())) << tensor.name();
  for (const auto& input : model.graph().input()) EXPECT_TRUE(used.contains(input.name())) << input.name();
}

TEST_F(Onnx, SaysWhatItIs) {
  const MemorySource source({});
  const std::string line = save_onnx(dir_ / "model.onnx", source);
  EXPECT_NE(line.find("model.onnx: ONNX model, opset 17, f32"), std::string::npos) << line;
  const onnx::ModelProto model = load();
  EXPECT_EQ(model.ir_version(), 8);
  ASSERT_EQ(model.opset_import_size(), 1);
  EXPECT_EQ(model.opset_import(0).version(), 17);
  EXPECT_EQ(model.producer_name(), "inkling");
  EXPECT_FALSE(model.producer_version().empty());
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(metadata["n_positions"], "16");
  EXPECT_EQ(metadata["n_head"], "2");
}

TEST_F(Onnx, TakesIdsAndGivesLogits) {
  const onnx::ModelProto model = save(MemorySource({}));
  EXPECT_EQ(describe(model.graph().input()), std::vector<std::string>{"input_ids i64 (batch, sequence)"});
  EXPECT_EQ(describe(model.graph().output()), std::vector<std::string>{"logits f32 (batch, sequence, 32)"});
  expect_sound(model);
}

TEST_F(Onnx, WithACacheTakesThePastAndGivesThePresent) {
  const onnx::ModelProto model = save(MemorySource({}), {.kv_cache = true});
  EXPECT_EQ(describe(model.graph().input()),
            (std::vector<std::string>{"input_ids i64 (batch, sequence)", "attention_mask i64 (batch, total_sequence)",
                                      "position_ids i64 (batch, sequence)",
                                      "past_key_values.0.key f32 (batch, 2, past_sequence, 16)",
                                      "past_key_values.0.value f32 (batch, 2, past_sequence, 16)",
                                      "past_key_values.1.key f32 (batch, 2, past_sequence, 16)",
                                      "past_key_values.1.value f32 (batch, 2, past_sequence, 16)"}));
  EXPECT_EQ(
      describe(model.graph().output()),
      (std::vector<std::string>{"logits f32 (batch, sequence, 32)", "present.0.key f32 (batch, 2, total_sequence, 16)",
                                "present.0.value f32 (batch, 2, total_sequence, 16)",
                                "present.1.key f32 (batch, 2, total_sequence, 16)",
                                "present.1.value f32 (batch, 2, total_sequence, 16)"}));
  expect_sound(model);
}

TEST_F(Onnx, HoldsEveryParameterOnceAsItIsStored) {
  for (const bool transposed : {true, false}) {
    const MemorySource source({.transposed = transposed});
    fs::remove(dir_ / "model.onnx");
    const onnx::ModelProto model = save(source);
    int64_t elements = 0;
    for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
      const std::string name = param_name(spec, layer);
      const onnx::TensorProto& tensor = initializer(model, name);
      EXPECT_EQ(floats(tensor), source.values(name)) << name;
      const StoredTensor stored = source.tensor(spec, layer);
      ASSERT_EQ(tensor.dims_size(), stored.shape.rank());
      for (int axis = 0; axis < tensor.dims_size(); ++axis) EXPECT_EQ(tensor.dims(axis), stored.shape[axis]) << name;
      elements += stored.shape.numel();
    });
    EXPECT_EQ(elements, source.config().parameters());
    EXPECT_EQ(int_attribute(node(model, "h.1/mlp.c_fc"), "transB"), transposed ? 0 : 1);
    EXPECT_EQ(int_attribute(node(model, "logits/flat"), "transB"), 1);
    EXPECT_EQ(node(model, "logits/flat").input(1), "wte.weight");
  }
}

TEST_F(Onnx, TheFileIsPlainProtobuf) {
  const onnx::ModelProto model = save(MemorySource({}));
  // One graph, no field twice, no byte too many: what protobuf itself would write is as long.
  EXPECT_EQ(model.ByteSizeLong(), fs::file_size(dir_ / "model.onnx"));
  EXPECT_TRUE(model.GetReflection()->GetUnknownFields(model).empty());
}

TEST_F(Onnx, AnUntiedHeadIsAWeightOfItsOwn) {
  const MemorySource source({.tied = false});
  const onnx::ModelProto model = save(source, {.kv_cache = true});
  EXPECT_EQ(floats(initializer(model, "lm_head.weight")), source.values("lm_head.weight"));
  EXPECT_EQ(node(model, "logits/flat").input(1), "lm_head.weight");
  expect_sound(model);
}

TEST_F(Onnx, OtherTypesAreWidened) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::q8_0}) {
    const MemorySource source({.dtype = dtype, .transposed = false});
    fs::remove(dir_ / "model.onnx");
    const onnx::ModelProto model = save(source);
    const onnx::TensorProto& tensor = initializer(model, "h.0.attn.c_attn.weight");
    EXPECT_EQ(tensor.data_type(), onnx::TensorProto::FLOAT);
    EXPECT_EQ(floats(tensor), source.values("h.0.attn.c_attn.weight")) << name_of(dtype);
  }
}

TEST_F(Onnx, SaysWhatBecameOfTheValues) {
  const auto says = [&](DType stored, DType written, std::string_view what) {
    const std::string line = save_onnx(dir_ / fmt::format("{}-{}.onnx", name_of(stored), name_of(written)),
                                       MemorySource({.dtype = stored, .transposed = false}), {.dtype = written});
    return line.find(what) != std::string::npos;
  };
  EXPECT_FALSE(says(DType::f32, DType::f32, "widened"));
  EXPECT_TRUE(says(DType::q8_0, DType::f32, "blocks widened"));
  EXPECT_TRUE(says(DType::f32, DType::f16, "values rounded to f16"));
}

TEST_F(Onnx, HalfPrecisionIsForMatricesNotForNorms) {
  const MemorySource source({});
  const onnx::ModelProto model = save(source, {.dtype = DType::f16, .kv_cache = true});
  expect_sound(model);
  for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
    const std::string name = param_name(spec, layer);
    const bool norm = name.find("ln_") != std::string::npos;
    const onnx::TensorProto& tensor = initializer(model, name);
    EXPECT_EQ(tensor.data_type(), norm ? onnx::TensorProto::FLOAT : onnx::TensorProto::FLOAT16) << name;
    std::vector<float> expected = source.values(name);
    if (!norm) {
      for (float& v : expected) v = f16_to_f32(f32_to_f16(v));
    }
    EXPECT_EQ(floats(tensor), expected) << name;
  });
  EXPECT_EQ(describe(model.graph().output(0)), "logits f32 (batch, sequence, 32)");
  EXPECT_EQ(describe(model.graph().input(3)), "past_key_values.0.key f16 (batch, 2, past_sequence, 16)");
  EXPECT_EQ(describe(model.graph().output(1)), "present.0.key f16 (batch, 2, total_sequence, 16)");
}

TEST_F(Onnx, WeightsTooLargeForHalfPrecisionAreAnError) {
  MemorySource source({});
  source.set("h.1.mlp.c_proj.bias", 65519);  // rounds to the largest
  save(source, {.dtype = DType::f16});
  fs::remove(dir_ / "model.onnx");
  source.set("h.1.mlp.c_proj.bias", -65520);
  fails([&] { save(source, {.dtype = DType::f16}); }, {"memory", "h.1.mlp.c_proj.bias", "-65520", "f16", "f32"});
  EXPECT_EQ(files(), 0u);
}

TEST_F(Onnx, WeightsBesideAreTheSameWeights) {
  const MemorySource source({});
  const onnx::ModelProto inside = save(source);
  fs::rename(dir_ / "model.onnx", dir_ / "inside.onnx");
  const std::string line = save_onnx(dir_ / "model.onnx", source, {.external_data = true});
  EXPECT_NE(line.find("weights in model.onnx.data"), std::string::npos) << line;
  const onnx::ModelProto model = load();
  expect_sound(model);
  const std::string data = read_file(dir_ / "model.onnx.data");
  size_t end = 0;
  for_each_param(source.config(), [&](const ParamSpec& spec, int64_t layer) {
    const onnx::TensorProto& tensor = initializer(model, param_name(spec, layer));
    EXPECT_EQ(tensor.data_location(), onnx::TensorProto::EXTERNAL);
    EXPECT_TRUE(tensor.raw_data().empty());
    std::map<std::string, std::string> place;
    for (const auto& entry : tensor.external_data()) place[entry.key()] = entry.value();
    EXPECT_EQ(place["location"], "model.onnx.data");
    const size_t offset = std::stoul(place["offset"]), length = std::stoul(place["length"]);
    EXPECT_EQ(offset % 4096, 0u);
    ASSERT_LE(offset + length, data.size());
    EXPECT_EQ(data.substr(offset, length), initializer(inside, tensor.name()).raw_data()) << tensor.name();
    end = std::max(end, offset + length);
  });
  EXPECT_EQ(end, data.size());
  EXPECT_EQ(describe(model.graph().input()), describe(inside.graph().input()));
}

TEST_F(Onnx, WhatDoesNotFitGoesBeside) {
  const MemorySource source({});
  save(source);
  const size_t size = fs::file_size(dir_ / "model.onnx");
  save_onnx(dir_ / "fits.onnx", source, {.inline_limit = size});
  EXPECT_EQ(fs::file_size(dir_ / "fits.onnx"), size);
  EXPECT_FALSE(fs::exists(dir_ / "fits.onnx.data"));
  save_onnx(dir_ / "beside.onnx", source, {.inline_limit = size - 1});
  EXPECT_LT(fs::file_size(dir_ / "beside.onnx"), size);
  EXPECT_TRUE(fs::exists(dir_ / "beside.onnx.data"));
}

TEST_F(Onnx, NothingIsOverwritten) {
  const MemorySource source({});
  write_file(dir_ / "a.onnx", "mine");
  fails([&] { save_onnx(dir_ / "a.onnx", source); }, {"a.onnx: exists already"});
  write_file(dir_ / "b.onnx.data", "mine");
  fails([&] { save_onnx(dir_ / "b.onnx", source); }, {"b.onnx.data: exists already"});
  EXPECT_EQ(read_file(dir_ / "a.onnx") + read_file(dir_ / "b.onnx.data"), "minemine");
  EXPECT_EQ(files(), 2u);
}

TEST_F(Onnx, AFailureLeavesNoFile) {
  for (const bool external : {false, true}) {
    MemorySource source({});
    save(source, {.external_data = external});
    source.fail_at = source.reads - 3;
    source.reads = 0;
    fs::remove(dir_ / "model.onnx");
    fs::remove(dir_ / "model.onnx.data");
    fails([&] { save(source, {.external_data = external}); }, {"the disk has gone"});
    EXPECT_EQ(files(), 0u);
  }
}

TEST_F(Onnx, RefusesTypesThatItDoesNotWrite) {
  fails([&] { save(MemorySource({}), {.dtype = DType::q8_0}); }, {"model.onnx", "q8_0"});
  fails([&] { save_onnx(dir_ / "no" / "model.onnx", MemorySource({})); }, {"model.onnx", "No such file"});
}

}  // namespace
}  // namespace ink
