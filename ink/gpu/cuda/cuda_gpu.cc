#include "ink/gpu/cuda/cuda_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "ink/gpu/cuda/check_cuda.h"
#include "ink/gpu/cuda/kernels.h"
#include "ink/gpu/cuda/peaks.h"
#include "ink/gpu/cuda/products.h"
#include "ink/gpu/cuda/staging.h"
#include "ink/tensor/plan.h"

namespace ink::cuda {

namespace {

constexpr int kOldest = 8;           // compute capability that the kernels and bf16 products need
constexpr size_t kMostBuffers = 16;  // that a kernel takes; the dialect allows fewer

// The queue of a device. Not blocking: it does not wait for the stream that others in the process may use.
class Stream {
 public:
  explicit Stream(int device) : device_(device) {
    use();
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  ~Stream() {
    cudaSetDevice(device_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Makes the device the calling thread's. CUDA keeps one for each thread.
  void use() const { check_cuda(cudaSetDevice(device_), "choosing the device"); }
  cudaStream_t get() const { return stream_; }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
};

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(size_t bytes, std::shared_ptr<Stream> stream) : size_(bytes), stream_(std::move(stream)) {
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, std::max<size_t>(bytes, 1));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t free = 0, total = 0;
      check_cuda(cudaMemGetInfo(&free, &total), "asking for the free memory");
      fail("cuda: cannot allocate {}: {} of {} are free; use a smaller --batch or --context", human_bytes(bytes),
           human_bytes(free), human_bytes(total));
    }
    check_cuda(status, "allocating memory");
    data_ = static_cast<std::byte*>(memory);
  }
  // What was asked of the memory is done first.
  ~CudaBuffer() override {
    cudaStreamSynchronize(stream_->get());
    cudaFree(data_);
  }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;

  std::byte* data() override { return data_; }
  size_t size() const override { return size_; }

 private:
  size_t size_;
  std::shared_ptr<Stream> stream_;
  std::byte* data_ = nullptr;
};

std::string version(int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); }  // 13020 is 13.2

class CudaGpu final : public gpu::Gpu {
 public:
  CudaGpu(int index, const cudaDeviceProp& properties, DType products)
      : properties_(properties),
        stream_(std::make_shared<Stream>(index)),
        staging_(stream_->get()),
        products_(stream_->get()),
        peaks_(stream_->get(), products_, products) {}

  std::string name() const override { return "cuda"; }
  std::string description() const override {
    int driver = 0, runtime = 0;
    check_cuda(cudaDriverGetVersion(&driver), "asking for the driver's version");
    check_cuda(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
    return fmt::format("{}, compute capability {}.{}, {}, CUDA {} (driver's {}), {}", properties_.name,
                       properties_.major, properties_.minor, human_bytes(memory()), version(runtime), version(driver),
                       Products::version());
  }
  size_t memory() const override { return properties_.totalGlobalMem; }

  std::unique_ptr<Buffer> allocate(size_t bytes) override {
    stream_->use();
    auto buffer = std::make_unique<CudaBuffer>(bytes, stream_);
    check_cuda(cudaMemsetAsync(buffer->data(), 0, bytes, stream_->get()), doing("zeroing memory"));
    return buffer;
  }
  void upload(void* to, const void* from, size_t bytes) override {
    stream_->use();
    staging_.upload(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override {
    stream_->use();
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_->get()), doing("downloading"));
    check_cuda(cudaStreamSynchronize(stream_->get()), doing("downloading"));
  }
  void copy(void* to, const void* from, size_t bytes) override {
    stream_->use();
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_->get()), doing("copying"));
  }
  void launch(const gpu::Launch& a) override;
  bool gemm(const Gemm& a, DType products) override {
    stream_->use();
    last_ = "a matrix product";
    return products_.gemm(a, products);
  }
  void wait() override {
    stream_->use();
    check_cuda(cudaStreamSynchronize(stream_->get()), doing("waiting"));
  }

  double peak_flops() override {
    stream_->use();
    return peaks_.flops();
  }
  Bandwidth peak_bandwidth() override {
    stream_->use();
    return peaks_.bandwidth();
  }

 private:
  // Errors of what runs on the device are told by a later call: what was asked for last is at least near.
  std::string doing(std::string_view what) const { return fmt::format("{}, after {}", what, last_); }

  cudaDeviceProp properties_;
  std::shared_ptr<Stream> stream_;  // buffers keep it, should they outlive this
  Staging staging_;
  Products products_;
  Peaks peaks_;
  std::string_view last_ = "nothing";  // kernel
};

void CudaGpu::launch(const gpu::Launch& a) {
  const std::string_view name = gpu::name_of(a.kernel);
  const KernelEntry kernel = a.real == DType::bf16 ? bf16_kernel(a.kernel) : f32_kernel(a.kernel);
  check(a.buffers.size() == kernel.buffers && kernel.buffers <= kMostBuffers,
        "kernel {}: {} buffers given, it takes {}", name, a.buffers.size(), kernel.buffers);
  check(a.args_bytes == kernel.args_bytes, "kernel {}: {} bytes of args given, it takes {}", name, a.args_bytes,
        kernel.args_bytes);
  check(a.grid.x >= 1 && a.grid.y >= 1 && a.grid.z >= 1 && a.grid.y <= 65535 && a.grid.z <= 65535,
        "kernel {}: a grid of {} x {} x {} blocks; each must be at least 1, the last two at most 65535", name, a.grid.x,
        a.grid.y, a.grid.z);
  // CUDA wants the address of every argument.
  std::array<void*, kMostBuffers> pointers{};
  std::array<void*, kMostBuffers + 1> arguments{};
  for (size_t i = 0; i < kernel.buffers; ++i) {
    check(!a.buffers[i] || kernel.takes(i, a.buffers[i].dtype),
          "kernel {}: buffer {} holds {}, which is not what the kernel takes", name, i,
          ink::name_of(a.buffers[i].dtype));
    pointers[i] = a.buffers[i].data;
    arguments[i] = &pointers[i];
  }
  arguments[kernel.buffers] = const_cast<void*>(a.args);
  const dim3 grid(static_cast<unsigned>(a.grid.x), static_cast<unsigned>(a.grid.y), static_cast<unsigned>(a.grid.z));
  const dim3 block(static_cast<unsigned>(gpu::threads_of(a.kernel)));
  stream_->use();
  const cudaError_t status = cudaLaunchKernel(kernel.function, grid, block, arguments.data(), 0, stream_->get());
  if (status != cudaSuccess) {
    check_cuda(status, fmt::format("launching kernel {} on {} x {} x {} blocks, after {}", name, a.grid.x, a.grid.y,
                                   a.grid.z, last_));
  }
  last_ = name;
}

// Of a driver there may be none, or one that is too old for the runtime that is linked.
int count_or_fail() {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  check(driver != 0, "cuda: no NVIDIA driver is installed; use --device cpu");
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    fail("cuda: the NVIDIA driver is for CUDA {}, this program is built for CUDA {}; install a newer driver",
         version(driver), version(runtime));
  }
  check(status != cudaErrorNoDevice && (status != cudaSuccess || count > 0),
        "cuda: the NVIDIA driver shows no GPU; use --device cpu");
  check_cuda(status, "looking for GPUs");
  return count;
}

}  // namespace

int count_gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

std::unique_ptr<gpu::Gpu> make_cuda_gpu(int index, DType products) {
  const int count = count_or_fail();
  check(index >= 0 && index < count, "cuda:{}: there are {} GPUs, counted from 0", index, count);
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, index), "asking what the GPU is");
  check(properties.major >= kOldest, "cuda:{}: {} has compute capability {}.{}; {}.0 is the oldest that is supported",
        index, properties.name, properties.major, properties.minor, kOldest);
  return std::make_unique<CudaGpu>(index, properties, products);
}

}  // namespace ink::cuda
