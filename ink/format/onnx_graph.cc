// GPT-2's forward pass, node by node. The hidden state is (batch·sequence, C), so that every matrix is one Gemm with
// its bias, in whichever order its elements are stored; the embedding is also the classifier's, without a second copy.
#include "ink/format/onnx_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace ink {

namespace {

using Name = std::string;  // of a node's output, an input or an initializer

constexpr auto kFloat = onnx::TensorProto::FLOAT;
constexpr auto kHalf = onnx::TensorProto::FLOAT16;
constexpr auto kInt64 = onnx::TensorProto::INT64;

// What masked scores become: as good as minus infinity, but finite in f16 too, so that a row without any visible key
// (of padding) makes no NaN.
constexpr float kMasked = -65504;

struct Attribute {
  const char* name;
  std::variant<int64_t, float, std::vector<int64_t>> value;
};

// A dimension: its size, or the name of one that varies.
using Dim = std::variant<int64_t, const char*>;

class GraphBuilder {
 public:
  GraphBuilder(const ModelSource& model, const OnnxOptions& options)
      : model_(model), config_(model.config()), kv_cache_(options.kv_cache), half_(options.dtype == DType::f16) {}

  OnnxGraph build() {
    result_.graph.set_name("gpt2");
    inputs_and_shapes();
    Name x = embed();
    for (layer_ = 0; layer_ < config_.layers; ++layer_) {
      const Name att = attention(narrow(layer_norm("ln_1", x)));
      x = node("Add", {x, wide(linear("attn.c_proj", att))}, scoped("attn/residual"));
      const Name fc = gelu(linear("mlp.c_fc", narrow(layer_norm("ln_2", x))));
      x = node("Add", {x, wide(linear("mlp.c_proj", fc))}, scoped("mlp/residual"));
    }
    layer_ = -1;
    logits(layer_norm("ln_f", x));
    for (int64_t layer = 0; kv_cache_ && layer < config_.layers; ++layer) {
      for (const char* what : {"key", "value"}) {
        value(*result_.graph.add_output(), fmt::format("present.{}.{}", layer, what), half_ ? kHalf : kFloat,
              {"batch", config_.heads, "total_sequence", config_.head_size()});
      }
    }
    return std::move(result_);
  }

 private:
  // --- nodes, constants, weights ---

  // A node with one output; returns its name.
  Name node(const char* op, const std::vector<Name>& inputs, const Name& output,
            std::initializer_list<Attribute> attributes = {}) {
    return node(op, inputs, std::vector{output}, attributes).front();
  }

  std::vector<Name> node(const char* op, const std::vector<Name>& inputs, const std::vector<Name>& outputs,
                         std::initializer_list<Attribute> attributes = {}) {
    onnx::NodeProto& node = *result_.graph.add_node();
    node.set_op_type(op);
    node.set_name(outputs.front() + "/" + op);
    for (const Name& input : inputs) node.add_input(input);
    for (const Name& output : outputs) node.add_output(output);
    for (const Attribute& attribute : attributes) {
      onnx::AttributeProto& proto = *node.add_attribute();
      proto.set_name(attribute.name);
      if (const auto* i = std::get_if<int64_t>(&attribute.value)) {
        proto.set_type(onnx::AttributeProto::INT);
        proto.set_i(*i);
      } else if (const auto* f = std::get_if<float>(&attribute.value)) {
        proto.set_type(onnx::AttributeProto::FLOAT);
        proto.set_f(*f);
      } else {
        proto.set_type(onnx::AttributeProto::INTS);
        for (const int64_t n : std::get<std::vector<int64_t>>(attribute.value)) proto.add_ints(n);
      }
    }
    return outputs;
  }

  static void value(onnx::ValueInfoProto& proto, const Name& name, int type, std::initializer_list<Dim> dims) {
    proto.set_name(name);
    onnx::TypeProto::Tensor& tensor = *proto.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    for (const Dim& dim : dims) {
      auto& size = *tensor.mutable_shape()->add_dim();
      if (const auto* fixed = std::get_if<int64_t>(&dim)) {
        size.set_dim_value(*fixed);
      } else {
        size.set_dim_param(std::get<const char*>(dim));
      }
    }
  }

  void input(const Name& name, int type, std::initializer_list<Dim> dims) {
    value(*result_.graph.add_input(), name, type, dims);
  }

  // A constant, made where it is first asked for.
  onnx::TensorProto* constant(const Name& name, int type) {
    const auto& known = result_.graph.initializer();
    if (std::any_of(known.begin(), known.end(), [&](const auto& t) { return t.name() == name; })) return nullptr;
    onnx::TensorProto& tensor = *result_.graph.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    return &tensor;
  }

  Name ints(const Name& name, std::initializer_list<int64_t> values) {
    if (onnx::TensorProto* tensor = constant(name, kInt64)) {
      tensor->add_dims(static_cast<int64_t>(values.size()));
      for (const int64_t v : values) tensor->add_int64_data(v);
    }
    return name;
  }

  Name int_scalar(const Name& name, int64_t v) {
    if (onnx::TensorProto* tensor = constant(name, kInt64)) tensor->add_int64_data(v);
    return name;
  }

  Name scalar(const Name& name, float v, bool half) {
    onnx::TensorProto* tensor = constant(name, half ? kHalf : kFloat);
    if (tensor == nullptr) return name;
    if (half) {
      tensor->add_int32_data(f32_to_f16(v));  // the bits, as the schema asks for
    } else {
      tensor->add_float_data(v);
    }
    return name;
  }

  // "attn.c_proj.weight" of this layer, "ln_f.weight" outside.
  const OnnxWeight& weight(std::string_view name, DType dtype, bool* transposed = nullptr) {
    const std::string full = layer_ >= 0 ? fmt::format("h.{{}}.{}", name) : std::string(name);
    const auto schema = gpt2_schema();
    const auto spec = std::find_if(schema.begin(), schema.end(), [&](const ParamSpec& s) { return s.name == full; });
    assert(spec != schema.end());
    const StoredTensor stored = model_.tensor(*spec, std::max<int64_t>(0, layer_));
    if (transposed != nullptr) *transposed = stored.transposed;
    OnnxWeight& w = result_.weights.emplace_back(OnnxWeight{&*spec, std::max<int64_t>(0, layer_), dtype, {}});
    w.proto.set_name(param_name(*spec, w.layer));
    w.proto.set_data_type(dtype == DType::f16 ? kHalf : kFloat);
    for (int axis = 0; axis < stored.shape.rank(); ++axis) w.proto.add_dims(stored.shape[axis]);
    return w;
  }

  DType matrix_dtype() const { return half_ ? DType::f16 : DType::f32; }

  Name scoped(std::string_view name) const { return layer_ >= 0 ? fmt::format("h.{}/{}", layer_, name) : Name(name); }

  // In f16 models: to f16 for matrix products, to f32 for all else.
  Name narrow(const Name& x) {
    return half_ ? node("Cast", {x}, x + "/f16", {{"to", static_cast<int64_t>(kHalf)}}) : x;
  }
  Name wide(const Name& x) { return half_ ? node("Cast", {x}, x + "/f32", {{"to", static_cast<int64_t>(kFloat)}}) : x; }

  // --- the parts of the model ---

  void inputs_and_shapes() {
    input("input_ids", kInt64, {"batch", "sequence"});
    if (kv_cache_) {
      input("attention_mask", kInt64, {"batch", "total_sequence"});
      input("position_ids", kInt64, {"batch", "sequence"});
      for (int64_t layer = 0; layer < config_.layers; ++layer) {
        for (const char* what : {"key", "value"}) {
          input(fmt::format("past_key_values.{}.{}", layer, what), half_ ? kHalf : kFloat,
                {"batch", config_.heads, "past_sequence", config_.head_size()});
        }
      }
    }
    value(*result_.graph.add_output(), "logits", kFloat, {"batch", "sequence", config_.vocab});

    const Name batch = node("Shape", {"input_ids"}, "batch", {{"start", int64_t{0}}, {"end", int64_t{1}}});
    const Name sequence = node("Shape", {"input_ids"}, "sequence", {{"start", int64_t{1}}, {"end", int64_t{2}}});
    const Attribute axis0 = {"axis", int64_t{0}};
    node("Concat", {batch, sequence, ints("heads_and_size", {config_.heads, config_.head_size()})}, "shape/heads",
         {axis0});
    node("Concat", {batch, sequence, ints("vocab", {config_.vocab})}, "shape/logits", {axis0});
    ints("shape/hidden", {-1, config_.channels});
    visible_keys();
  }

  // "visible": which keys a query sees, those up to its own position that are not padding: (sequence, sequence), or
  // (batch, 1, sequence, total_sequence) with a cache.
  void visible_keys() {
    const Name zero = int_scalar("zero", 0), one = int_scalar("one", 1), axis1 = ints("axis1", {1});
    const Name length = node("Squeeze", {"sequence"}, "sequence/scalar");
    if (!kv_cache_) {
      const Name keys = node("Range", {zero, length, one}, "positions");
      node("LessOrEqual", {keys, node("Unsqueeze", {keys, axis1}, "queries")}, "visible");
      return;
    }
    const Attribute start = {"start", int64_t{2}}, end = {"end", int64_t{3}};
    const Name past = node("Squeeze", {node("Shape", {"past_key_values.0.key"}, "past", {start, end})}, "past/scalar");
    const Name total = node("Add", {past, length}, "total");
    const Name keys = node("Range", {zero, total, one}, "keys");
    const Name queries = node("Unsqueeze", {node("Range", {past, total, one}, "places"), axis1}, "queries");
    const Name causal = node("LessOrEqual", {keys, queries}, "causal");
    const Name real = node("Cast", {"attention_mask"}, "real", {{"to", static_cast<int64_t>(onnx::TensorProto::BOOL)}});
    node("And", {causal, node("Unsqueeze", {real, ints("axes12", {1, 2})}, "real/heads")}, "visible");
  }

  Name embed() {
    const Name token = node("Gather", {weight("wte.weight", matrix_dtype()).proto.name(), "input_ids"}, "embed/token");
    const Name place =
        node("Gather", {weight("wpe.weight", matrix_dtype()).proto.name(), kv_cache_ ? "position_ids" : "positions"},
             "embed/position");
    const Name sum = node("Add", {wide(token), wide(place)}, "embed/sum");
    return node("Reshape", {sum, "shape/hidden"}, "embed");
  }

  Name layer_norm(const std::string& name, const Name& x) {
    const Name scale = weight(name + ".weight", DType::f32).proto.name();
    const Name shift = weight(name + ".bias", DType::f32).proto.name();
    return node("LayerNormalization", {x, scale, shift}, scoped(name),
                {{"axis", int64_t{-1}}, {"epsilon", config_.eps}});
  }

  // x · W + b in the matrices' type.
  Name linear(const std::string& name, const Name& x) {
    bool transposed = false;
    const Name w = weight(name + ".weight", matrix_dtype(), &transposed).proto.name();
    const Name b = weight(name + ".bias", matrix_dtype()).proto.name();
    return node("Gemm", {x, w, b}, scoped(name), {{"transB", int64_t{transposed ? 0 : 1}}});
  }

  // Queries, keys or values as (batch, heads, sequence, head size).
  Name heads(const Name& x) {
    const Name split = node("Reshape", {x, "shape/heads"}, x + "/split");
    return node("Transpose", {split}, x + "/heads", {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  }

  // The keys or values of all tokens so far.
  Name with_past(const Name& x, const char* what) {
    if (!kv_cache_) return x;
    return node("Concat", {fmt::format("past_key_values.{}.{}", layer_, what), x},
                fmt::format("present.{}.{}", layer_, what), {{"axis", int64_t{2}}});
  }

  Name attention(const Name& x) {
    const Name qkv = linear("attn.c_attn", x);
    const std::vector<Name> parts =
        node("Split", {qkv}, std::vector{scoped("q"), scoped("k"), scoped("v")}, {{"axis", int64_t{1}}});
    const Name k = with_past(heads(parts[1]), "key");
    const Name v = with_past(heads(parts[2]), "value");
    // The queries are scaled, not the scores, which might be too large for f16.
    const float scale = 1 / std::sqrt(static_cast<float>(config_.head_size()));
    const Name q = node("Mul", {heads(parts[0]), scalar("attention_scale", scale, half_)}, scoped("q/scaled"));
    const Name k_t = node("Transpose", {k}, scoped("k/transposed"), {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    const Name scores = wide(node("MatMul", {q, k_t}, scoped("scores")));
    const Name masked = node("Where", {"visible", scores, scalar("masked", kMasked, false)}, scoped("scores/masked"));
    const Name weights = narrow(node("Softmax", {masked}, scoped("scores/softmax"), {{"axis", int64_t{-1}}}));
    const Name mixed = node("Transpose", {node("MatMul", {weights, v}, scoped("att"))}, scoped("att/transposed"),
                            {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return node("Reshape", {mixed, "shape/hidden"}, scoped("att/merged"));
  }

  // 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), in the order of operations that ONNX Runtime knows to fuse.
  Name gelu(const Name& x) {
    const Name cube = node("Pow", {x, scalar("three", 3, half_)}, x + "/cube");
    const Name small = node("Mul", {cube, scalar("gelu_cubic", 0.044715f, half_)}, x + "/small");
    const Name sum = node("Add", {x, small}, x + "/sum");
    const Name inner = node("Mul", {sum, scalar("gelu_scale", 0.7978845608f, half_)}, x + "/inner");
    const Name tanh = node("Tanh", {inner}, x + "/tanh");
    const Name gate = node("Add", {tanh, scalar("float_one", 1, half_)}, x + "/gate");
    const Name half = node("Mul", {x, scalar("float_half", 0.5f, half_)}, x + "/half");
    return node("Mul", {half, gate}, x + "/gelu");
  }

  // f32 even in f16 models: logits around -100 would be off by 0.03.
  void logits(const Name& x) {
    bool transposed = false;  // the token embedding is in the graph already, and is (V, C)
    const Name w = config_.tied ? "wte.weight" : weight("lm_head.weight", matrix_dtype(), &transposed).proto.name();
    const Name flat = node("Gemm", {x, wide(w)}, "logits/flat", {{"transB", int64_t{transposed ? 0 : 1}}});
    node("Reshape", {flat, "shape/logits"}, "logits");
  }

  const ModelSource& model_;
  const Gpt2Config& config_;
  const bool kv_cache_, half_;
  int64_t layer_ = -1;  // the one that is being built; -1 outside
  OnnxGraph result_;
};

}  // namespace

size_t OnnxWeight::bytes() const {
  int64_t elements = 1;
  for (const int64_t dim : proto.dims()) elements *= dim;
  return bytes_of(dtype, elements);
}

OnnxGraph make_onnx_graph(const ModelSource& model, const OnnxOptions& options) {
  return GraphBuilder(model, options).build();
}

}  // namespace ink
