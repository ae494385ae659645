#include "tests/metal_stub/stub.h"

#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "ink/base/check.h"

namespace ink::metal {

namespace {

constexpr size_t kPage = 4096;

struct StubBuffer {
  std::vector<std::byte> memory;
  std::byte* contents = nullptr;
  size_t bytes = 0;
  std::shared_ptr<const void> owner;  // of contents that are somebody else's
};

struct StubPipeline {
  std::string function;
  DType real;
};

// [offset, offset + bytes) of a buffer; Metal would read or write what is behind it.
std::byte* bytes_at(const Object& object, size_t offset, size_t bytes) {
  const auto& buffer = *static_cast<StubBuffer*>(object.get());
  check(offset <= buffer.bytes && bytes <= buffer.bytes - offset, "bytes {} to {} of a buffer of {}", offset,
        offset + bytes, buffer.bytes);
  return buffer.contents + offset;
}

}  // namespace

SharedMemory Stub::new_buffer(size_t bytes) {
  if (state_.out_of_memory) return {};
  ++state_.buffers;
  auto buffer = std::make_shared<StubBuffer>();
  buffer->memory.resize(bytes + kPage, std::byte{0xcd});  // Metal does not promise zeros
  buffer->contents =
      buffer->memory.data() + (kPage - reinterpret_cast<uintptr_t>(buffer->memory.data()) % kPage) % kPage;
  buffer->bytes = bytes;
  std::byte* contents = buffer->contents;
  return {std::move(buffer), contents};
}

SharedMemory Stub::wrap_buffer(std::span<const std::byte> pages, std::shared_ptr<const void> owner) {
  check(reinterpret_cast<uintptr_t>(pages.data()) % kPage == 0 && pages.size() % kPage == 0 && !pages.empty(),
        "newBufferWithBytesNoCopy of {} bytes at {}: no whole pages", pages.size(), fmt::ptr(pages.data()));
  if (state_.out_of_memory) return {};
  ++state_.wrapped;
  auto buffer = std::make_shared<StubBuffer>();
  buffer->contents = const_cast<std::byte*>(pages.data());
  buffer->bytes = pages.size();
  buffer->owner = std::move(owner);
  std::byte* contents = buffer->contents;
  return {std::move(buffer), contents};
}

Pipeline Stub::new_pipeline(const std::string& function, DType real, int threads) {
  check(threads > 0, "a pipeline for no threads");
  check(real == DType::bf16 ? has_bf16(function) : has_f32(function), "no function {} in the library", function);
  ++state_.pipelines;
  return {.state = std::make_shared<StubPipeline>(StubPipeline{function, real}),
          .simd_width = state_.simd_width,
          .most_threads = state_.most_threads,
          .shared_memory = state_.kernel_memory};
}

void Stub::set_bytes(int index, const void* bytes, size_t size) {
  check(size > 0 && size <= 4096, "setBytes of {} bytes", size);
  const auto* first = static_cast<const std::byte*>(bytes);
  bytes_[index] = {first, first + size};
}

// Everything must be set anew for the next.
void Stub::dispatch(gpu::Grid blocks, int threads) {
  ++state_.dispatches;
  check(pipeline_ != nullptr, "a dispatch without a pipeline");
  const auto pipeline = std::static_pointer_cast<StubPipeline>(std::exchange(pipeline_, nullptr));
  const int count = static_cast<int>(buffers_.size() + bytes_.size());
  check(buffers_.count(count - 1) == 0 && bytes_.count(count - 1) == 1, "the last argument must be the bytes");
  open_.push_back([this, pipeline, blocks, threads, count, buffers = std::exchange(buffers_, {}),
                   bytes = std::exchange(bytes_, {})] {
    Dispatch d = {.function = pipeline->function, .bindings = {}, .grid = blocks, .threads = threads};
    for (int i = 0; i < count; ++i) {
      Binding& b = d.bindings.emplace_back();
      if (const auto found = buffers.find(i); found != buffers.end()) {
        const auto& [object, offset] = found->second;
        b.bytes = static_cast<StubBuffer*>(object.get())->bytes - offset;
        b.data = bytes_at(object, offset, b.bytes);
      } else {
        b.args = bytes.at(i);
      }
    }
    pipeline->real == DType::bf16 ? run_bf16(emulator_, d) : run_f32(emulator_, d);
  });
}

void Stub::copy(const Object& to, size_t to_offset, const Object& from, size_t from_offset, size_t bytes) {
  ++state_.copies;
  check(bytes % 4 == 0 && to_offset % 4 == 0 && from_offset % 4 == 0, "a copy of bytes that are no multiples of 4");
  open_.push_back([=] { std::memcpy(bytes_at(to, to_offset, bytes), bytes_at(from, from_offset, bytes), bytes); });
}

void Stub::multiply(const Matrix& out, const Matrix& a, const Matrix& b, bool trans_a, bool trans_b, bool accumulate) {
  ++state_.products;
  const int64_t m = trans_a ? a.cols : a.rows, k = trans_a ? a.rows : a.cols, n = trans_b ? b.rows : b.cols;
  check((trans_b ? b.cols : b.rows) == k && out.rows == m && out.cols == n, "matrices that do not fit each other");
  open_.push_back([=] {
    const auto floats = [](const Matrix& x) {
      return reinterpret_cast<float*>(bytes_at(x.buffer, x.offset, static_cast<size_t>(x.rows * x.cols) * 4));
    };
    const float *left = floats(a), *right = floats(b);
    float* result = floats(out);
    for (int64_t row = 0; row < m; ++row) {
      for (int64_t col = 0; col < n; ++col) {
        double sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          const double x = left[trans_a ? i * a.cols + row : row * a.cols + i];
          sum += x * right[trans_b ? col * b.cols + i : i * b.cols + col];
        }
        float& r = result[row * out.cols + col];
        r = static_cast<float>(accumulate ? r + sum : sum);
      }
    }
  });
}

void Stub::commit() {
  ++state_.batches;
  check(!open_.empty(), "a batch without commands");
  committed_.push_back(std::exchange(open_, {}));
}

std::string Stub::wait() {
  check(!committed_.empty(), "there is no batch to wait for");
  const Batch batch = std::move(committed_.front());
  committed_.pop_front();
  if (!state_.failure.empty()) return std::exchange(state_.failure, {});
  try {
    for (const auto& command : batch) command();
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}

}  // namespace ink::metal
