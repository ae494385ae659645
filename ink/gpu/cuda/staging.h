// Host memory on its way to the device: copied first to pinned pages, from which the device fetches it by itself, after
// what was asked before. So the caller may use its memory again at once, and the host goes on while the device works.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <memory>

namespace ink::cuda {

class Staging {
 public:
  explicit Staging(cudaStream_t stream);  // which must outlive this
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(void* to, const void* from, size_t bytes);

 private:
  // Enough slots for the batches of some steps ahead; large enough to keep the bus busy.
  static constexpr size_t kSlots = 8;
  static constexpr size_t kSlotBytes = size_t{1} << 20;

  struct Free {
    void operator()(std::byte* p) const { cudaFreeHost(p); }
  };

  cudaStream_t stream_;
  std::unique_ptr<std::byte, Free> pinned_;
  std::array<cudaEvent_t, kSlots> fetched_{};  // when the device has what the slot held last
  size_t next_ = 0;
};

}  // namespace ink::cuda
