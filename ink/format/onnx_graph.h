// GPT-2's forward pass as an ONNX graph. Private to the room.
#pragma once

#include <cstdint>
#include <vector>

#include "ink/format/onnx.h"
#include "ink/format/onnx_proto.h"

namespace ink {

// A parameter of the graph, which the writer adds to it.
struct OnnxWeight {
  const ParamSpec* spec;
  int64_t layer;
  DType dtype;              // f32 or f16
  onnx::TensorProto proto;  // name, dimensions and type, without the elements

  size_t bytes() const;
};

struct OnnxGraph {
  onnx::GraphProto graph;  // complete but for the weights' initializers
  std::vector<OnnxWeight> weights;
};

constexpr int64_t kOnnxOpset = 17;  // the first with LayerNormalization

OnnxGraph make_onnx_graph(const ModelSource& model, const OnnxOptions& options);

}  // namespace ink
