// A model's parameters wherever they are: in a file of any format, or in a Gpt2. Readers implement ModelSource;
// writers, quantizing and inference take one, so that elements keep the type they are stored in unless somebody asks
// for another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ink/base/dtype.h"
#include "ink/model/config.h"
#include "ink/model/schema.h"
#include "ink/text/tokenizer.h"

namespace ink {

// One parameter as it is stored: row-major, the embedding with its V rows (no padding). The bytes need not be aligned.
struct StoredTensor {
  DType dtype = DType::f32;
  Shape shape;              // (out, in), or (in, out) where transposed
  bool transposed = false;  // a matrix that lies as (in, out)
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;  // keeps data alive; null where that is as long as the source
};

class ModelSource {
 public:
  virtual ~ModelSource() = default;

  // For people: the path and the format ("run/step_100: Hugging Face model folder, f32").
  virtual std::string description() const = 0;
  virtual const Gpt2Config& config() const = 0;

  // A row of gpt2_schema() that the config has; layer is 0 for those outside the layers.
  virtual StoredTensor tensor(const ParamSpec& spec, int64_t layer) const = 0;

  // Says that the tensor will not be read again soon: mapped pages stop to count as the process's memory.
  virtual void drop(const StoredTensor&) const {}

  // The tokenizer that comes with the model; null if there is none.
  virtual std::shared_ptr<const Tokenizer> tokenizer() const { return nullptr; }
};

// Elements [begin, begin + out.size()) in the order they are stored in, begin and size whole numbers of blocks.
void read_elements(const StoredTensor& tensor, int64_t begin, std::span<float> out);

// All of them as (out, in), whatever the order they are stored in.
void read_matrix(const StoredTensor& tensor, std::span<float> out);

}  // namespace ink
