#include "ink/gpu/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "ink/gpu/cuda/check_cuda.h"

namespace ink::cuda {

Staging::Staging(cudaStream_t stream) : stream_(stream) {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, kSlots * kSlotBytes), "pinning memory for uploads");
  pinned_.reset(static_cast<std::byte*>(memory));
  for (cudaEvent_t& event : fetched_) {
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  }
}

Staging::~Staging() {
  cudaStreamSynchronize(stream_);  // for copies that still read
  for (const cudaEvent_t event : fetched_) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

void Staging::upload(void* to, const void* from, size_t bytes) {
  auto* out = static_cast<std::byte*>(to);
  const auto* in = static_cast<const std::byte*>(from);
  for (size_t done = 0; done < bytes; done += kSlotBytes) {
    const size_t n = std::min(bytes - done, kSlotBytes);
    std::byte* slot = pinned_.get() + next_ * kSlotBytes;
    check_cuda(cudaEventSynchronize(fetched_[next_]), "waiting for an upload");  // at once where nothing was recorded
    std::memcpy(slot, in + done, n);
    check_cuda(cudaMemcpyAsync(out + done, slot, n, cudaMemcpyHostToDevice, stream_), "uploading");
    check_cuda(cudaEventRecord(fetched_[next_], stream_), "recording an upload");
    next_ = (next_ + 1) % kSlots;
  }
}

}  // namespace ink::cuda
