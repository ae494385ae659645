// Writes ONNX files. The small parts go through the classes of the format's schema; the weights are streamed into the
// place that protobuf's encoding has for them, so that no model is ever in memory for it.
#include "ink/format/onnx.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/format/element_reader.h"
#include "ink/format/model_io.h"
#include "ink/format/onnx_graph.h"
#include "ink/tensor/cast.h"

namespace ink {

namespace {

constexpr int64_t kPiece = int64_t{1} << 16;  // elements that are on their way at a time: they stay in the cache
constexpr size_t kAlignment = 4096;           // of a weight in the file beside: a page, so that readers can map it
// 8 is onnx 1.10 to 1.12's. Later readers take it; it knows all that the graph uses.
constexpr int64_t kIrVersion = 8;

// What precedes a field of so many bytes in protobuf's encoding: its number and kind, then its length, as varints of
// seven bits a byte, the lowest first. https://protobuf.dev/programming-guides/encoding
std::string field_head(int number, uint64_t bytes) {
  std::string head;
  for (uint64_t n : {uint64_t(number) << 3 | 2, bytes}) {
    for (; n >= 0x80; n >>= 7) head.push_back(static_cast<char>(n | 0x80));
    head.push_back(static_cast<char>(n));
  }
  return head;
}

uint64_t field_bytes(int number, uint64_t bytes) { return field_head(number, bytes).size() + bytes; }

// A weight's own message, with its elements inside.
uint64_t tensor_bytes(const OnnxWeight& weight) {
  return weight.proto.ByteSizeLong() + field_bytes(onnx::TensorProto::kRawDataFieldNumber, weight.bytes());
}

void write_elements(OutputFile& out, const OnnxWeight& weight, const ModelSource& model) {
  const StoredTensor stored = model.tensor(*weight.spec, weight.layer);
  const int64_t elements = stored.shape.numel();
  std::vector<float> values;
  std::vector<std::byte> bytes;
  for (int64_t begin = 0; begin < elements; begin += kPiece) {
    values.resize(static_cast<size_t>(std::min(kPiece, elements - begin)));
    read_elements(stored, begin, values);
    if (weight.dtype == DType::f16) {
      const auto large = std::ranges::find_if(values, [](float v) { return std::abs(v) >= 65520 && std::isfinite(v); });
      check(large == values.end(), "{}: {} holds {}, too large for f16; export it as f32", model.description(),
            weight.proto.name(), large == values.end() ? 0 : *large);
    }
    bytes.resize(bytes_of(weight.dtype, static_cast<int64_t>(values.size())));
    from_f32(values, weight.dtype, bytes.data());
    out.write(bytes.data(), bytes.size());
  }
  model.drop(stored);
}

onnx::ModelProto describe_model(const Gpt2Config& config) {
  onnx::ModelProto file;
  file.set_ir_version(kIrVersion);
  onnx::OperatorSetIdProto& opset = *file.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  file.set_producer_name("inkling");
  file.set_producer_version(INK_VERSION);
  file.set_doc_string("GPT-2. Token ids are those of the tokenizer.json that belongs to the model.");
  const auto add = [&](const char* key, int64_t value) {
    onnx::StringStringEntryProto& entry = *file.add_metadata_props();
    entry.set_key(key);
    entry.set_value(std::to_string(value));
  };
  // The names of transformers' config.json.
  add("n_positions", config.context);
  add("vocab_size", config.vocab);
  add("n_layer", config.layers);
  add("n_head", config.heads);
  add("n_embd", config.channels);
  return file;
}

// The graph's message with the weights inside.
uint64_t graph_bytes(const OnnxGraph& parts) {
  uint64_t bytes = parts.graph.ByteSizeLong();
  for (const OnnxWeight& weight : parts.weights) {
    bytes += field_bytes(onnx::GraphProto::kInitializerFieldNumber, tensor_bytes(weight));
  }
  return bytes;
}

// One file. A message's fields may come in any order: the weights' initializers follow all else of the graph.
void write_inline(OutputFile& out, const onnx::ModelProto& file, const OnnxGraph& parts, const ModelSource& model) {
  out.write(file.SerializeAsString());
  out.write(field_head(onnx::ModelProto::kGraphFieldNumber, graph_bytes(parts)));
  out.write(parts.graph.SerializeAsString());
  for (const OnnxWeight& weight : parts.weights) {
    out.write(field_head(onnx::GraphProto::kInitializerFieldNumber, tensor_bytes(weight)));
    out.write(weight.proto.SerializeAsString());
    out.write(field_head(onnx::TensorProto::kRawDataFieldNumber, weight.bytes()));
    write_elements(out, weight, model);
  }
}

// The weights' elements; fills in where they are. Returns the bytes written.
uint64_t write_data_file(OutputFile& out, const std::string& name, OnnxGraph& parts, const ModelSource& model) {
  uint64_t offset = 0;
  for (OnnxWeight& weight : parts.weights) {
    const std::string padding((kAlignment - offset % kAlignment) % kAlignment, '\0');
    out.write(padding);
    offset += padding.size();
    weight.proto.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto add = [&](const char* key, const std::string& value) {
      onnx::StringStringEntryProto& entry = *weight.proto.add_external_data();
      entry.set_key(key);
      entry.set_value(value);
    };
    add("location", name);
    add("offset", std::to_string(offset));
    add("length", std::to_string(weight.bytes()));
    write_elements(out, weight, model);
    offset += weight.bytes();
  }
  return offset;
}

// What became of the values, for the line that says what was done.
std::string loss(const OnnxGraph& parts, const ModelSource& model, DType dtype) {
  if (dtype == DType::f32) return block_of(matrix_type(model)) == 1 ? "" : ", blocks widened to what they stand for";
  const bool kept = std::ranges::all_of(parts.weights, [&](const OnnxWeight& weight) {
    const StoredTensor stored = model.tensor(*weight.spec, weight.layer);
    const bool all = fits(stored, weight.dtype);
    model.drop(stored);
    return all;
  });
  return kept ? "" : ", values rounded to f16";
}

void refuse_existing(const fs::path& path) {
  std::error_code ignored;
  check(!fs::exists(fs::symlink_status(path, ignored)), "{}: exists already; choose another name or remove it",
        path.string());
}

// Both files, the weights first: a model file that is there has its weights.
uint64_t save_external(const fs::path& path, onnx::ModelProto& file, OnnxGraph& parts, const ModelSource& model) {
  const fs::path data_path = onnx_data_path(path);
  AtomicFile data(data_path), out(path);
  uint64_t bytes = write_data_file(data.out(), data_path.filename().string(), parts, model);
  *file.mutable_graph() = parts.graph;
  for (const OnnxWeight& weight : parts.weights) *file.mutable_graph()->add_initializer() = weight.proto;
  const std::string text = file.SerializeAsString();
  out.write(text);
  bytes += text.size();
  data.commit();
  try {
    out.commit();
  } catch (...) {
    std::error_code ignored;
    fs::remove(data_path, ignored);
    throw;
  }
  return bytes;
}

}  // namespace

std::string save_onnx(const fs::path& path, const ModelSource& model, const OnnxOptions& options) {
  check(options.dtype == DType::f32 || options.dtype == DType::f16, "{}: ONNX files hold f32 or f16, not {}",
        path.string(), name_of(options.dtype));
  refuse_existing(path);
  refuse_existing(onnx_data_path(path));
  onnx::ModelProto file = describe_model(model.config());
  OnnxGraph parts = make_onnx_graph(model, options);
  uint64_t bytes = file.ByteSizeLong() + field_bytes(onnx::ModelProto::kGraphFieldNumber, graph_bytes(parts));
  const std::string change = loss(parts, model, options.dtype);  // before the files are there: it reads the model
  const bool beside = options.external_data || bytes > options.inline_limit;
  if (beside) {
    bytes = save_external(path, file, parts, model);
  } else {
    AtomicFile out(path);
    write_inline(out.out(), file, parts, model);
    out.commit();
  }
  return fmt::format("wrote {}: ONNX model, opset {}, {}{}, {:.1f}M parameters{}, {:.1f} MB{}", path.string(),
                     kOnnxOpset, name_of(options.dtype), options.kv_cache ? ", with key-value cache" : "",
                     static_cast<double>(model.config().parameters()) / 1e6, change, static_cast<double>(bytes) / 1e6,
                     beside ? ", weights in " + onnx_data_path(path).filename().string() : "");
}

std::string onnx_library() {
  return fmt::format("opset {}, protobuf {}.{}.{}", kOnnxOpset, GOOGLE_PROTOBUF_VERSION / 1000000,
                     GOOGLE_PROTOBUF_VERSION / 1000 % 1000, GOOGLE_PROTOBUF_VERSION % 1000);
}

}  // namespace ink
