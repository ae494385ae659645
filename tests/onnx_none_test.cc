// format: what a build without the ONNX library says.
#include <gtest/gtest.h>

#include "ink/base/check.h"
#include "ink/format/onnx.h"

namespace ink {
namespace {

struct Nothing : ModelSource {
  std::string description() const override { return "nothing"; }
  const Gpt2Config& config() const override { return config_; }
  StoredTensor tensor(const ParamSpec&, int64_t) const override { return {}; }
  Gpt2Config config_;
};

TEST(OnnxNone, SaysWhatIsMissing) {
  EXPECT_NE(onnx_library().find("none"), std::string::npos);
  try {
    save_onnx("model.onnx", Nothing());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("model.onnx"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("libonnx-dev"), std::string::npos);
  }
}

}  // namespace
}  // namespace ink
