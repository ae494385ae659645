// The build without the ONNX library: it writes no such files.
#include "ink/base/check.h"
#include "ink/format/onnx.h"

namespace ink {

std::string save_onnx(const std::filesystem::path& path, const ModelSource& /*model*/, const OnnxOptions& /*options*/) {
  fail("{}: this build cannot write ONNX files; install libonnx-dev and libprotobuf-dev and configure it again",
       path.filename().string());  // the folder may be a temporary one
}

std::string onnx_library() { return "none: built without the ONNX library"; }

}  // namespace ink
