// Metal's calls without Metal: commands are kept as they come, and run in the emulator when somebody waits for their
// batch, as late as a GPU may. Counts what was asked, and fails where it is told to.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ink/gpu/metal/calls.h"
#include "tests/metal_stub/kernels.h"

namespace ink::metal {

// Of the GPU that the stub is, and what happened to it.
struct StubState {
  Limits limits = {.name = "stub",
                   .memory = size_t{1} << 30,
                   .working_set = size_t{512} << 20,
                   .largest_buffer = size_t{256} << 20,
                   .shared_memory = size_t{32} << 10};
  int simd_width = 32, most_threads = 1024;
  size_t kernel_memory = 0;  // shared memory of every kernel
  bool out_of_memory = false;
  std::string failure;  // of the next batch that is waited for
  int dispatches = 0, copies = 0, products = 0, batches = 0, pipelines = 0, buffers = 0, wrapped = 0;
};

class Stub final : public Calls {
 public:
  // state must outlive this.
  explicit Stub(StubState& state, emu::Order order = emu::Order::forward) : state_(state), emulator_(order) {}

  Limits limits() override { return state_.limits; }
  SharedMemory new_buffer(size_t bytes) override;
  SharedMemory wrap_buffer(std::span<const std::byte> pages, std::shared_ptr<const void> owner) override;
  Pipeline new_pipeline(const std::string& function, DType real, int threads) override;
  void set_pipeline(const Pipeline& pipeline) override { pipeline_ = pipeline.state; }
  void set_buffer(int index, const Object& buffer, size_t offset) override { buffers_[index] = {buffer, offset}; }
  void set_bytes(int index, const void* bytes, size_t size) override;
  void dispatch(gpu::Grid blocks, int threads) override;
  void copy(const Object& to, size_t to_offset, const Object& from, size_t from_offset, size_t bytes) override;
  void multiply(const Matrix& out, const Matrix& a, const Matrix& b, bool trans_a, bool trans_b,
                bool accumulate) override;
  void commit() override;
  std::string wait() override;

 private:
  using Batch = std::vector<std::function<void()>>;

  StubState& state_;
  emu::Emulator emulator_;
  Object pipeline_;
  std::map<int, std::pair<Object, size_t>> buffers_;
  std::map<int, std::vector<std::byte>> bytes_;
  Batch open_;
  std::deque<Batch> committed_;
};

}  // namespace ink::metal
