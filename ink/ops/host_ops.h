// What the backends that compute in the host's own memory share: allocating and copying.
#pragma once

#include <memory>

#include "ink/ops/ops.h"

namespace ink {

class HostOps : public Ops {
 public:
  bool reads_host_memory() const override { return true; }
  std::unique_ptr<Buffer> allocate(size_t bytes) override;
  size_t memory() const override;
  void upload(const Tensor& to, const void* from) override;
  void download(void* to, const Tensor& from) override;
  void copy(const Tensor& to, const Tensor& from) override;
  void fill(const Tensor& t, float value) override;  // f32
  void cast(const Cast& a) override;
};

}  // namespace ink
