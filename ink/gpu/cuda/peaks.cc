#include "ink/gpu/cuda/peaks.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "ink/gpu/cuda/check_cuda.h"
#include "ink/gpu/cuda/helpers.h"

namespace ink::cuda {

namespace {

struct Free {
  void operator()(void* p) const { cudaFree(p); }
};

// Zeroed; nothing where so much is not free. Bits that never change let a GPU's clock stay higher than real numbers do:
// what is measured is a bound.
std::unique_ptr<void, Free> zeros(size_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "memory to measure the device with");
  std::unique_ptr<void, Free> owner(memory);
  check_cuda(cudaMemsetAsync(memory, 0, bytes, stream), "zeroing memory to measure the device with");
  return owner;
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreate(&event_), "making an event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "recording an event"); }
  // Waits for both.
  static double seconds(const Event& from, const Event& to) {
    float ms = 0;
    check_cuda(cudaEventSynchronize(to.event_), "measuring");
    check_cuda(cudaEventElapsedTime(&ms, from.event_, to.event_), "measuring");
    return ms / 1e3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

double Peaks::fastest(int repeats, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    Event begin, end;
    begin.record(stream_);
    work();
    end.record(stream_);
    const double seconds = Event::seconds(begin, end);
    if (i > 0) best = std::min(best, seconds);  // the first loads the kernel
  }
  return best;
}

double Peaks::flops() {
  if (!flops_) flops_ = measure_flops();
  return *flops_;
}

Bandwidth Peaks::bandwidth() {
  if (!bandwidth_) bandwidth_ = measure_bandwidth();
  return *bandwidth_;
}

double Peaks::measure_flops() {
  const int64_t n = products_ == DType::bf16 ? 8192 : 4096;
  const auto a = zeros(bytes_of(products_, n * n), stream_), b = zeros(bytes_of(products_, n * n), stream_),
             out = zeros(bytes_of(products_, n * n), stream_);
  if (!a || !b || !out) return 0;
  const Gemm product = {.a = {a.get(), products_, {n, n}},
                        .b = {b.get(), products_, {n, n}},
                        .out = {out.get(), products_, {n, n}},
                        .trans_b = true};
  if (!library_.gemm(product, products_)) return 0;
  const double seconds = fastest(20, [&] { library_.gemm(product, products_); });
  const auto side = static_cast<double>(n);
  return 2 * side * side * side / seconds;
}

Bandwidth Peaks::measure_bandwidth() {
  int device = 0, processors = 0;
  check_cuda(cudaGetDevice(&device), "asking for the device");
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking for processors");
  // Far more than any GPU's cache holds.
  constexpr int64_t kFloats = int64_t{1} << 28, kQuarter = kFloats / 4;
  const auto memory = zeros(kFloats * sizeof(float), stream_), sink = zeros(sizeof(float), stream_);
  if (!memory || !sink) return {};
  auto* x = static_cast<float*>(memory.get());
  const int blocks = processors * 8;  // all threads of a processor
  const double read = fastest(10, [&] { read_all(x, kFloats, static_cast<float*>(sink.get()), blocks, stream_); });
  const double update =
      fastest(10, [&] { update_all(x, x + kQuarter, x + 2 * kQuarter, x + 3 * kQuarter, kQuarter, blocks, stream_); });
  check_cuda(cudaGetLastError(), "measuring the memory");
  return {.read = kFloats * sizeof(float) / read, .update = kQuarter * 7 * sizeof(float) / update};
}

}  // namespace ink::cuda
