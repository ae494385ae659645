// The device without Metal: which commands, with which buffers and offsets, in which batches.
#include "ink/gpu/metal/metal_gpu.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "ink/base/check.h"
#include "ink/gpu/args.h"
#include "ink/gpu/metal/memory.h"
#include "ink/gpu/metal/queue.h"
#include "ink/ops/check_args.h"
#include "ink/tensor/plan.h"

namespace ink::metal {

namespace {

constexpr size_t kMostArgs = 4096;            // bytes that Metal takes within a command
constexpr size_t kStaging = size_t{1} << 20;  // bytes that uploads wait in for the GPU
constexpr size_t kCopied = 4;                 // the GPU copies multiples of these bytes, from multiples of them
constexpr uintptr_t kMatrixAlignment = 16;    // of matrices for Metal Performance Shaders

bool is_aligned(const void* p, uintptr_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

// Whether rows can be read by four elements.
int by_four(const Tensor& t) { return t.cols() % 4 == 0 && is_aligned(t.data, 4 * bytes_of(t.dtype, 1)) ? 1 : 0; }

// Metal Performance Shaders keep byte offsets in 32 bits: where (m + 2 k) · n elements are 2 GiB, a band of the result
// is NaN, on the M1 and M2 at least (JuliaGPU/Metal.jl, issue 381). The same of an operand is not known to be better.
bool is_too_large(const Gemm& a) {
  const auto [m, n, k] = dims_of(a);
  const auto reaches = [](int64_t rows, int64_t cols) { return cols > (INT32_MAX / int64_t{sizeof(float)}) / rows; };
  return reaches(m + 2 * k, n) || reaches(m, k) || reaches(n, k);
}

class MetalGpu final : public gpu::Gpu {
 public:
  explicit MetalGpu(std::unique_ptr<Calls> calls)
      : calls_(std::move(calls)),
        limits_(calls_->limits()),
        memory_(*calls_),
        queue_(*calls_),
        nothing_(memory_.allocate(kMostArgs)),
        staging_(memory_.allocate(kStaging)) {}

  std::string name() const override { return "metal"; }
  std::string description() const override {
    return fmt::format("{}, {} of the memory's {}, products by Metal Performance Shaders", limits_.name,
                       human_bytes(limits_.working_set), human_bytes(limits_.memory));
  }
  size_t memory() const override { return limits_.working_set; }

  std::unique_ptr<Buffer> allocate(size_t bytes) override { return memory_.allocate(bytes); }
  std::unique_ptr<Buffer> wrap(std::span<const std::byte> pages, std::shared_ptr<const void> owner) override {
    return memory_.wrap(pages, std::move(owner));
  }
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override {
    memory_.find(from, bytes, "download");
    wait();
    std::memcpy(to, from, bytes);
  }
  void copy(void* to, const void* from, size_t bytes) override;
  void launch(const gpu::Launch& a) override {
    run(gpu::name_of(a.kernel), a.real, gpu::threads_of(a.kernel), a.grid, a.buffers, a.args, a.args_bytes);
  }
  bool gemm(const Gemm& a, DType products) override;
  void wait() override {
    queue_.wait();
    staged_ = 0;
  }

 private:
  void run(std::string_view kernel, DType real, int threads, gpu::Grid grid, std::span<const Tensor> buffers,
           const void* args, size_t args_bytes);
  const Pipeline& pipeline_of(std::string_view kernel, DType real, int threads);
  bool multiply(const Gemm& a);
  bool matmul(const Gemm& a, DType products);
  Matrix matrix_of(const Tensor& t) const;

  std::unique_ptr<Calls> calls_;
  Limits limits_;
  Memory memory_;
  Queue queue_;
  std::map<std::pair<std::string_view, DType>, Pipeline> pipelines_;
  std::unique_ptr<Buffer> nothing_;  // what a kernel gets for a buffer that is not there, and does not read
  std::unique_ptr<Buffer> staging_;
  size_t staged_ = 0;  // bytes of it that the GPU may still have to read
};

// Memory that the GPU may be at is written by the GPU itself, in its turn.
void MetalGpu::upload(void* to, const void* from, size_t bytes) {
  const Place place = memory_.find(to, bytes, "upload");
  const bool staged = bytes <= kStaging && bytes % kCopied == 0 && place.offset % kCopied == 0;
  if (!staged || staged_ + bytes > kStaging) wait();
  if (!queue_.busy()) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::memcpy(staging_->data() + staged_, from, bytes);
  copy(to, staging_->data() + staged_, bytes);
  staged_ += bytes;
}

void MetalGpu::copy(void* to, const void* from, size_t bytes) {
  const Place target = memory_.find(to, bytes, "copy"), source = memory_.find(from, bytes, "copy");
  if (bytes % kCopied != 0 || target.offset % kCopied != 0 || source.offset % kCopied != 0) {
    wait();
    std::memcpy(to, from, bytes);
    return;
  }
  calls_->copy(target.buffer, target.offset, source.buffer, source.offset, bytes);
  queue_.added("copy");
}

void MetalGpu::run(std::string_view kernel, DType real, int threads, gpu::Grid grid, std::span<const Tensor> buffers,
                   const void* args, size_t args_bytes) {
  check(args_bytes <= kMostArgs, "kernel {}: {} bytes of args; Metal takes {}", kernel, args_bytes, kMostArgs);
  check(grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.y <= 65535 && grid.z <= 65535,
        "kernel {}: a grid of {} x {} x {} blocks; each must be at least 1, the last two at most 65535", kernel, grid.x,
        grid.y, grid.z);
  const Pipeline& pipeline = pipeline_of(kernel, real, threads);
  // All is found before the first command: an error leaves no half of a launch behind.
  std::vector<Place> places;
  for (const Tensor& t : buffers) {
    places.push_back(t ? memory_.find(t.data, t.bytes(), kernel) : memory_.find(nothing_->data(), 1, kernel));
  }
  calls_->set_pipeline(pipeline);
  int index = 0;
  for (const Place& place : places) calls_->set_buffer(index++, place.buffer, place.offset);
  calls_->set_bytes(index, args, args_bytes);
  calls_->dispatch(grid, threads);
  queue_.added(kernel);
}

// Compiled when first needed, and checked against what the kernels count on.
const Pipeline& MetalGpu::pipeline_of(std::string_view kernel, DType real, int threads) {
  const auto key = std::pair(kernel, real);
  if (const auto found = pipelines_.find(key); found != pipelines_.end()) return found->second;
  const Pipeline pipeline = calls_->new_pipeline(std::string(kernel), real, threads);
  check(pipeline.simd_width == gpu::kSimd, "metal: kernel {}: {} runs simd groups of {} threads; the kernels need {}",
        kernel, limits_.name, pipeline.simd_width, +gpu::kSimd);
  check(pipeline.most_threads >= threads, "metal: kernel {}: {} runs at most {} threads in a block of it, not {}",
        kernel, limits_.name, pipeline.most_threads, threads);
  check(pipeline.shared_memory <= limits_.shared_memory, "metal: kernel {}: {} of shared memory; {} has {}", kernel,
        human_bytes(pipeline.shared_memory), limits_.name, human_bytes(limits_.shared_memory));
  return pipelines_.emplace(key, pipeline).first->second;
}

bool MetalGpu::gemm(const Gemm& a, DType products) {
  if (a.a.dtype != a.b.dtype || (dims_of(a).m <= gpu::kFewRows && !a.trans_a)) return false;
  if (a.a.dtype == DType::f32 && products == DType::f32 && !is_too_large(a)) return multiply(a);
  return (a.a.dtype == DType::f32 || a.a.dtype == DType::bf16) && matmul(a, products);
}

// By Metal Performance Shaders, which have no epilogues.
bool MetalGpu::multiply(const Gemm& a) {
  if (a.bias || a.gelu_in || a.dgelu_in || a.out.dtype != DType::f32) return false;
  const Matrix out = matrix_of(a.out), left = matrix_of(a.a), right = matrix_of(a.b);
  for (const Matrix* m : {&out, &left, &right}) {
    if (m->offset % kMatrixAlignment != 0) return false;
  }
  calls_->multiply(out, left, right, a.trans_a, a.trans_b, a.accumulate);
  queue_.added("a product of f32");
  return true;
}

Matrix MetalGpu::matrix_of(const Tensor& t) const {
  const Place place = memory_.find(t.data, t.bytes(), "a product of f32");
  return {.buffer = place.buffer, .offset = place.offset, .rows = t.rows(), .cols = t.cols()};
}

// By the kernels of matmul.metal.
bool MetalGpu::matmul(const Gemm& a, DType products) {
  const DType real = a.a.dtype;
  const bool bare = !a.bias && !a.gelu_in && !a.dgelu_in;
  const bool gradient = a.out.dtype == DType::f32 && real != DType::f32;
  if (gradient ? !bare : a.out.dtype != real) return false;
  const auto [m, n, k] = dims_of(a);
  const int64_t blocks_m = (m + gpu::kGemmTile - 1) / gpu::kGemmTile,
                blocks_n = (n + gpu::kGemmTile - 1) / gpu::kGemmTile;
  constexpr int64_t kMost = INT32_MAX - gpu::kGemmTile;
  if (m > kMost || n > kMost || k > kMost || blocks_m > kMost / blocks_n) return false;
  const gpu::GemmArgs args = {.m = static_cast<int>(m),
                              .n = static_cast<int>(n),
                              .k = static_cast<int>(k),
                              .blocks_n = static_cast<int>(blocks_n),
                              .slice_k = static_cast<int>(k),
                              .trans_a = a.trans_a,
                              .trans_b = a.trans_b,
                              .accumulate = a.accumulate,
                              .has_bias = static_cast<bool>(a.bias),
                              .has_gelu_in = static_cast<bool>(a.gelu_in),
                              .has_dgelu_in = static_cast<bool>(a.dgelu_in),
                              .round = products == DType::bf16,
                              .aligned_a = by_four(a.a),
                              .aligned_b = by_four(a.b)};
  const gpu::Grid grid = {.x = static_cast<int>(blocks_m * blocks_n)};
  const Tensor buffers[] = {a.out, a.a, a.b, a.bias, a.gelu_in, a.dgelu_in};
  run(gradient ? "matmul_gradient" : "matmul", real, gpu::threads_of(gpu::Kernel::gemm), grid,
      std::span(buffers).first(gradient ? 3 : 6), &args, sizeof args);
  return true;
}

}  // namespace

std::unique_ptr<gpu::Gpu> make_metal_gpu(std::unique_ptr<Calls> calls) {
  return std::make_unique<MetalGpu>(std::move(calls));
}

}  // namespace ink::metal
