// The metal device without Metal: what it asks of Metal's calls, run by a stub in the emulator. That the operations
// come out right shows that pointers, arguments, offsets, sizes and the order of things do.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/system.h"
#include "ink/format/model_io.h"
#include "ink/gpu/args.h"
#include "ink/gpu/gpu_ops.h"
#include "ink/gpu/metal/metal_gpu.h"
#include "ink/infer/weights.h"
#include "ink/model/gpt2_inference.h"
#include "ink/ref/ref_ops.h"
#include "tests/metal_stub/stub.h"
#include "tests/model_helpers.h"
#include "tests/ops_cases.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

using metal::Stub;
using metal::StubState;

std::unique_ptr<gpu::Gpu> make_gpu(StubState& state, emu::Order order = emu::Order::forward) {
  return metal::make_metal_gpu(std::make_unique<Stub>(state, order));
}

// What f throws.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "throws nothing";
  return {};
}

class MetalOpsTest : public testing::TestWithParam<DType> {
 protected:
  // Every k-th case: the emulator is slow.
  Check check_one_of(int k) {
    return [this, k, i = 0](const Case& c) mutable {
      if (i++ % k == 0) check(c);
    };
  }
  void check(const Case& c) {
    SCOPED_TRACE(c.name);
    Arguments before(c, 0), expected(c, 0), got(c, 0);
    for (Arguments* arguments : {&before, &expected, &got}) arguments->round_to(GetParam());
    c.run(ref_, expected);
    got.upload(ops_, GetParam());
    c.run(ops_, got);
    got.download(ops_);
    got.expect_intact(before);
    const double stored = GetParam() == DType::bf16 ? 0x1p-8 : kEpsilon;
    const double bound = std::pow(stored * 2, 2) + std::pow(kEpsilon, 2) * 4 * static_cast<double>(c.length);
    for (size_t i = 0; i < got.size(); ++i) {
      if (got.arg(i).role != Role::inout && got.arg(i).role != Role::output) continue;
      const std::span<float> g = got.tensor(i).span<float>(), e = expected.tensor(i).span<float>();
      double errors = 0, squares = 0;
      for (size_t j = 0; j < g.size(); ++j) {
        errors += std::pow(double{g[j]} - e[j], 2);
        squares += std::pow(double{e[j]}, 2);
      }
      squares = std::max(squares, c.scale * c.scale * static_cast<double>(g.size()));
      EXPECT_LE(errors / squares, bound) << got.arg(i).name;
    }
  }

  StubState state_;
  RefOps ref_{GetParam()};
  gpu::GpuOps ops_{make_gpu(state_, emu::Order::shuffled), GetParam()};
};

TEST_P(MetalOpsTest, Embed) { embed_cases(check_one_of(5)); }
TEST_P(MetalOpsTest, LayerNorm) { layernorm_cases(check_one_of(11)); }
TEST_P(MetalOpsTest, LayerNormBackward) { layernorm_backward_cases(check_one_of(11)); }
TEST_P(MetalOpsTest, Gelu) { gelu_cases(check_one_of(3)); }
TEST_P(MetalOpsTest, Attention) { attention_cases(check_one_of(5)); }
TEST_P(MetalOpsTest, AttentionBackward) { attention_backward_cases(check_one_of(7)); }
TEST_P(MetalOpsTest, Classifier) { classifier_cases(check_one_of(47)); }
TEST_P(MetalOpsTest, Optimizers) { optimizer_cases(check_one_of(5)); }
TEST_P(MetalOpsTest, Cast) { cast_cases(check_one_of(3)); }
TEST_P(MetalOpsTest, SumSquares) { sum_squares_cases(check_one_of(3)); }
TEST_P(MetalOpsTest, Gemm) {
  gemm_cases(check_one_of(7));
  EXPECT_EQ(state_.products > 0, GetParam() == DType::f32);
}

INSTANTIATE_TEST_SUITE_P(Real, MetalOpsTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

class MetalGpuTest : public testing::Test {
 protected:
  Tensor floats(Buffer& buffer, int64_t first, int64_t n) const { return {buffer.data() + first * 4, DType::f32, {n}}; }
  void fill(const Tensor& t, float value) {
    const gpu::FillArgs args = {.n = t.numel(), .value = value};
    gpu_->launch({.kernel = gpu::Kernel::fill,
                  .grid = {.x = static_cast<int>((t.numel() + 255) / 256)},
                  .buffers = {&t, 1},
                  .args = &args,
                  .args_bytes = sizeof args});
  }
  std::vector<float> read(const Tensor& t) {
    std::vector<float> values(static_cast<size_t>(t.numel()));
    gpu_->download(values.data(), t.data, t.bytes());
    return values;
  }

  StubState state_;
  std::unique_ptr<gpu::Gpu> gpu_ = make_gpu(state_);
};

TEST_F(MetalGpuTest, MemoryIsZeroedAndAligned) {
  for (const size_t bytes : {size_t{1}, size_t{3}, size_t{4096}, size_t{10000}}) {
    const auto buffer = gpu_->allocate(bytes);
    EXPECT_EQ(buffer->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0u);
    std::vector<std::byte> got(bytes, std::byte{1});
    gpu_->download(got.data(), buffer->data(), bytes);
    EXPECT_EQ(got, std::vector<std::byte>(bytes));
  }
  EXPECT_EQ(gpu_->allocate(0)->size(), 0u);
}

TEST_F(MetalGpuTest, UploadsAndCopiesComeInTheirTurn) {
  const auto buffer = gpu_->allocate(4096);
  const Tensor a = floats(*buffer, 0, 100), b = floats(*buffer, 200, 100);
  std::vector<float> host(100, 5);
  fill(a, 1);
  gpu_->copy(b.data, a.data, a.bytes());
  gpu_->upload(a.data, host.data(), a.bytes());  // behind fill and copy, which have not run yet
  std::fill(host.begin(), host.end(), 7.0f);     // upload has returned
  EXPECT_EQ(read(b), std::vector<float>(100, 1));
  EXPECT_EQ(read(a), std::vector<float>(100, 5));
  EXPECT_EQ(state_.copies, 2);
  gpu_->upload(a.data, host.data(), a.bytes());  // nothing runs: no need of the GPU
  EXPECT_EQ(state_.copies, 2);
  EXPECT_EQ(read(a), std::vector<float>(100, 7));
}

TEST_F(MetalGpuTest, UploadsOfManyAndOddBytes) {
  const size_t n = size_t{700} << 10;  // two do not fit into the staging memory together
  const auto buffer = gpu_->allocate(3 * n);
  std::vector<std::byte> host(n);
  for (int i = 0; i < 3; ++i) {
    fill(floats(*buffer, i * static_cast<int64_t>(n) / 4, 1), 1);
    std::fill(host.begin(), host.end(), std::byte(i + 1));
    gpu_->upload(buffer->data() + i * n, host.data(), n);
  }
  const std::byte odd[3] = {std::byte{9}, std::byte{8}, std::byte{7}};
  fill(floats(*buffer, 0, 4), 0);
  gpu_->upload(buffer->data() + 1, odd, 3);
  gpu_->copy(buffer->data() + 10, buffer->data() + 1, 3);
  std::vector<std::byte> got(3 * n);
  gpu_->download(got.data(), buffer->data(), 3 * n);
  EXPECT_EQ(std::memcmp(&got[1], odd, 3), 0);
  EXPECT_EQ(std::memcmp(&got[10], odd, 3), 0);
  EXPECT_EQ(got[0], std::byte{0});
  EXPECT_EQ(got[13], std::byte{0});
  for (size_t i = 16; i < 3 * n; ++i) ASSERT_EQ(got[i], std::byte(i / n + 1)) << i;
}

TEST_F(MetalGpuTest, CommandsKeepTheMemoryThatTheyUse) {
  const auto kept = gpu_->allocate(400);
  {
    const auto passing = gpu_->allocate(400);
    fill(floats(*passing, 0, 100), 3);
    gpu_->copy(kept->data(), passing->data(), 400);
  }
  EXPECT_EQ(read(floats(*kept, 0, 100)), std::vector<float>(100, 3));
}

// Read in place, and kept until no command reads any more.
TEST_F(MetalGpuTest, PagesOfAFileAreReadInPlace) {
  const TempDir dir;
  std::vector<float> values(5000);
  std::iota(values.begin(), values.end(), 0.0f);
  write_file(dir.path() / "file", {reinterpret_cast<const char*>(values.data()), values.size() * 4});
  auto file = std::make_shared<const MappedFile>(dir.path() / "file");
  const std::weak_ptr<const MappedFile> watched = file;
  const size_t page = page_size(), pages = (file->bytes().size() + page - 1) / page * page;
  const int before = state_.buffers;
  auto wrapped = gpu_->wrap({file->bytes().data(), pages}, file);
  ASSERT_NE(wrapped, nullptr);
  EXPECT_EQ(wrapped->data(), file->bytes().data());
  EXPECT_EQ(wrapped->size(), pages);
  EXPECT_EQ(state_.buffers, before);
  const auto out = gpu_->allocate(4000);
  gpu_->copy(out->data(), wrapped->data() + 4 * 4000, 4000);
  wrapped.reset();
  file.reset();
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(read(floats(*out, 0, 1000)), std::vector<float>(values.begin() + 4000, values.end()));
  EXPECT_TRUE(watched.expired());
}

TEST_F(MetalGpuTest, PagesThatDoNotFitAreNotWrapped) {
  state_.limits.working_set = state_.limits.largest_buffer = size_t{4} << 20;
  gpu_ = make_gpu(state_);
  const size_t page = page_size();
  const std::vector<std::byte> memory((size_t{8} << 20) + page);
  const auto first = (reinterpret_cast<uintptr_t>(memory.data()) + page - 1) / page * page;
  const auto* pages = reinterpret_cast<const std::byte*>(first);
  EXPECT_EQ(gpu_->wrap({pages, size_t{8} << 20}, nullptr), nullptr);  // in one buffer
  const auto two = gpu_->wrap({pages, size_t{2} << 20}, nullptr);
  EXPECT_NE(two, nullptr);
  EXPECT_EQ(gpu_->wrap({pages + (size_t{2} << 20), size_t{2} << 20}, nullptr), nullptr);  // together with the others
  EXPECT_NE(error_of([&] { gpu_->allocate(size_t{2} << 20); }).find("cannot allocate"), std::string::npos);
  state_.out_of_memory = true;
  EXPECT_EQ(gpu_->wrap({pages + (size_t{2} << 20), page}, nullptr), nullptr);
  EXPECT_EQ(state_.wrapped, 1);
}

TEST_F(MetalGpuTest, BuffersMayOutliveTheGpu) {
  const auto buffer = gpu_->allocate(400);
  fill(floats(*buffer, 0, 100), 3);
  gpu_.reset();
  EXPECT_EQ(buffer->size(), 400u);
}

TEST_F(MetalGpuTest, ManyCommandsAreSeveralBatches) {
  const auto buffer = gpu_->allocate(4);
  for (int i = 0; i < 200; ++i) fill(floats(*buffer, 0, 1), static_cast<float>(i));
  EXPECT_EQ(state_.batches, 3);  // they run while more are asked for
  EXPECT_EQ(read(floats(*buffer, 0, 1)), std::vector<float>(1, 199));
  EXPECT_EQ(state_.batches, 4);
  EXPECT_EQ(state_.dispatches, 200);
  EXPECT_EQ(state_.pipelines, 1);
  gpu_->wait();  // with nothing to do
  EXPECT_EQ(state_.batches, 4);
  for (int i = 0; i < 3000; ++i) fill(floats(*buffer, 0, 1), static_cast<float>(i));
  EXPECT_EQ(read(floats(*buffer, 0, 1)), std::vector<float>(1, 2999));
}

TEST_F(MetalGpuTest, MemoryThatIsTooMuchIsRefusedBefore) {
  state_.limits = {.name = "stub", .working_set = 10 << 20, .largest_buffer = 6 << 20, .shared_memory = 32 << 10};
  gpu_ = make_gpu(state_);
  EXPECT_EQ(gpu_->memory(), size_t{10} << 20);
  const auto five = gpu_->allocate(5 << 20);
  const int before = state_.buffers;
  EXPECT_EQ(error_of([&] { gpu_->allocate(7 << 20); }),
            "metal: cannot allocate 7.0 MiB at once; stub takes at most 6.0 MiB");
  const std::string error = error_of([&] { gpu_->allocate(5 << 20); });
  EXPECT_NE(error.find("cannot allocate 5.0 MiB: 6.0 MiB of the 10.0 MiB that stub works with are taken"),
            std::string::npos)
      << error;
  EXPECT_NE(error_of([&] { gpu_->allocate(SIZE_MAX); }).find("cannot allocate"), std::string::npos);
  EXPECT_EQ(state_.buffers, before);
  gpu_->allocate(3 << 20);  // freed again
  gpu_->allocate(3 << 20);
  state_.out_of_memory = true;
  EXPECT_NE(error_of([&] { gpu_->allocate(1); }).find("the system has no memory left"), std::string::npos);
}

TEST_F(MetalGpuTest, MemoryOfOthersIsRefused) {
  const auto buffer = gpu_->allocate(400);
  std::vector<float> host(1000);
  EXPECT_EQ(error_of([&] {
              fill({host.data(), DType::f32, {10}}, 1);
            }),
            "metal: fill: 40 bytes that are not in the GPU's memory");
  EXPECT_EQ(error_of([&] { fill(floats(*buffer, 50, 51), 1); }),
            "metal: fill: 204 bytes that are not in the GPU's memory");
  EXPECT_NE(error_of([&] { gpu_->upload(buffer->data() + 1, host.data(), 400); }).find("upload"), std::string::npos);
  EXPECT_NE(error_of([&] { gpu_->download(host.data(), buffer->data() - 4, 4); }).find("download"), std::string::npos);
  EXPECT_NE(error_of([&] { gpu_->copy(buffer->data(), host.data(), 4); }).find("copy"), std::string::npos);
  EXPECT_EQ(state_.dispatches + state_.copies, 0);
  fill(floats(*buffer, 0, 100), 1);
  EXPECT_EQ(read(floats(*buffer, 0, 100)), std::vector<float>(100, 1));
}

TEST_F(MetalGpuTest, GpusThatTheKernelsDoNotFitAreRefused) {
  const auto buffer = gpu_->allocate(4);
  const auto error = [&] { return error_of([&] { fill(floats(*buffer, 0, 1), 1); }); };
  state_.simd_width = 16;
  EXPECT_EQ(error(), "metal: kernel fill: stub runs simd groups of 16 threads; the kernels need 32");
  state_.simd_width = 32;
  state_.most_threads = 192;
  EXPECT_EQ(error(), "metal: kernel fill: stub runs at most 192 threads in a block of it, not 256");
  state_.most_threads = 1024;
  state_.kernel_memory = 48 << 10;
  EXPECT_EQ(error(), "metal: kernel fill: 48.0 KiB of shared memory; stub has 32.0 KiB");
  state_.kernel_memory = 0;
  fill(floats(*buffer, 0, 1), 1);
  EXPECT_EQ(read(floats(*buffer, 0, 1)), std::vector<float>(1, 1));
}

TEST_F(MetalGpuTest, AFailedBatchIsToldWithItsCommands) {
  const auto buffer = gpu_->allocate(400);
  fill(floats(*buffer, 0, 50), 1);
  gpu_->copy(buffer->data() + 200, buffer->data(), 200);
  fill(floats(*buffer, 0, 50), 2);
  state_.failure = "Caused GPU Timeout Error";
  EXPECT_EQ(error_of([&] { gpu_->wait(); }), "metal: Caused GPU Timeout Error; the GPU was at 3 commands: fill, copy");
  fill(floats(*buffer, 0, 100), 4);
  EXPECT_EQ(read(floats(*buffer, 0, 100)), std::vector<float>(100, 4));
}

TEST_F(MetalGpuTest, WrongLaunchesAreRefused) {
  const auto buffer = gpu_->allocate(400);
  const Tensor t = floats(*buffer, 0, 100);
  const std::vector<std::byte> args(5000);
  const auto launch = [&](gpu::Grid grid, size_t bytes) {
    gpu_->launch(
        {.kernel = gpu::Kernel::fill, .grid = grid, .buffers = {&t, 1}, .args = args.data(), .args_bytes = bytes});
  };
  EXPECT_EQ(error_of([&] { launch({}, 4097); }), "kernel fill: 4097 bytes of args; Metal takes 4096");
  EXPECT_NE(error_of([&] { launch({.x = 0}, 16); }).find("a grid of 0 x 1 x 1 blocks"), std::string::npos);
  EXPECT_NE(error_of([&] { launch({.y = 65536}, 16); }).find("a grid of 1 x 65536 x 1"), std::string::npos);
  launch({}, 4);  // the kernel would read 16
  EXPECT_NE(error_of([&] { gpu_->wait(); }).find("4 bytes of args given, it takes 16"), std::string::npos);
}

class MetalGemmTest : public MetalGpuTest {
 protected:
  // Whether the library has the product; operands are of m, n, k.
  bool has(DType real, DType products, int64_t m, int64_t n, int64_t k, bool trans_a = false, bool bias = false,
           DType out = DType::f32, int64_t first = 0) {
    std::byte* p = memory_->data() + first;
    Gemm a = {.a = {p, real, {trans_a ? k : m, trans_a ? m : k}},
              .b = {p + 65536, real, {n, k}},
              .bias = bias ? Tensor(p + 131072, real, {n}) : Tensor(),
              .out = {p + 196608, out, {m, n}},
              .trans_a = trans_a,
              .trans_b = true};
    return gpu_->gemm(a, products);
  }
  std::unique_ptr<Buffer> memory_ = gpu_->allocate(1 << 20);
};

TEST_F(MetalGemmTest, ProductsThatTheLibraryHas) {
  constexpr DType f32 = DType::f32, bf16 = DType::bf16;
  EXPECT_TRUE(has(f32, f32, 9, 5, 7));
  EXPECT_TRUE(has(f32, f32, 3, 5, 7, true));
  EXPECT_EQ(state_.products, 2);
  EXPECT_FALSE(has(f32, f32, 9, 5, 7, false, true));           // a bias is another kernel's
  EXPECT_FALSE(has(f32, f32, 8, 5, 7));                        // few rows have kernels of their own
  EXPECT_FALSE(has(f32, f32, 9, 5, 7, false, false, f32, 4));  // not aligned
  EXPECT_EQ(state_.products, 2);
  EXPECT_TRUE(has(bf16, bf16, 9, 5, 7, false, true, bf16));
  EXPECT_TRUE(has(f32, bf16, 9, 5, 7, false, true, f32));
  EXPECT_TRUE(has(bf16, bf16, 3, 5, 7, true, false, f32));
  EXPECT_FALSE(has(bf16, bf16, 3, 5, 7, true, true, f32));
  EXPECT_FALSE(has(f32, bf16, 9, 5, 7, false, false, bf16));
  EXPECT_FALSE(has(DType::f16, bf16, 9, 5, 7, false, false, f32));
  EXPECT_EQ(state_.dispatches, 3);
  gpu_->wait();
}

// Metal Performance Shaders write NaN where byte offsets pass 2³¹; the other kernel counts with 64 bits. Neither finds
// so much memory here, and says so by its name.
TEST_F(MetalGemmTest, ProductsThatAreTooLargeForTheLibraryAreOurs) {
  const auto asked = [&](int64_t m, int64_t n, int64_t k, bool trans_a) {
    return error_of([&] { has(DType::f32, DType::f32, m, n, k, trans_a); });
  };
  EXPECT_EQ(asked(65536, 3072, 768, false).find("metal: a product of f32:"), 0u);
  EXPECT_EQ(asked(768, 4000, 65536, true).find("metal: a product of f32:"), 0u);
  EXPECT_EQ(asked(768, 6400, 65536, true).find("metal: matmul:"), 0u);
  EXPECT_EQ(asked(65536, 9000, 768, false).find("metal: matmul:"), 0u);
  EXPECT_EQ(asked(9, 9, int64_t{1} << 26, false).find("metal: matmul:"), 0u);
  EXPECT_EQ(state_.products, 0);
}

// The weights of inference stay in their file, where they lie on 16 bytes, and are in nobody's memory.
TEST(MetalInference, ReadsTheWeightsOfAFileInPlace) {
  const Gpt2Config config = {.context = 40, .vocab = 61, .layers = 2, .heads = 2, .channels = 64};
  const TempDir dir;
  const std::vector<int32_t> ids = random_ids(35, config.vocab, 3);
  for (const DType dtype : {DType::f32, DType::q8_0}) {
    SCOPED_TRACE(name_of(dtype));
    RefOps ref(DType::f32);
    const fs::path path = dir.path() / "model.gguf";
    save_gguf(path, *model_source(*make_model(ref, {.batch = 1}, config)), {dtype, dtype}, nullptr);
    StubState state;
    gpu::GpuOps gpu(make_gpu(state), DType::f32);
    std::vector<std::vector<float>> logits;
    for (Ops* ops : {static_cast<Ops*>(&ref), static_cast<Ops*>(&gpu)}) {
      const std::shared_ptr<const ModelSource> source = open_model(path);
      const int buffers = state.buffers;
      Gpt2Inference model(load_inference_weights(source, *ops), {.rows = 20}, *ops);
      const Tensor& wte = model.weights().wte;
      EXPECT_EQ(wte.data, source->tensor(gpt2_schema().front(), 0).data.data());
      EXPECT_EQ(wte.dtype, dtype);
      if (ops == &gpu) {
        EXPECT_EQ(state.wrapped, 1);
        EXPECT_EQ(state.buffers, buffers + 2);  // activations, and the cache
      }
      const Gpt2Inference::Tokens all = {model.cache().add(), ids};
      model.forward(std::span(&all, 1), logits.emplace_back(static_cast<size_t>(config.vocab)));
    }
    for (size_t i = 0; i < logits[0].size(); ++i) {
      ASSERT_NEAR(logits[1][i], logits[0][i], 1e-4f * (1 + std::abs(logits[0][i]))) << i;
    }
    EXPECT_EQ(gpu.wrap({}, nullptr), nullptr);
  }
}

TEST(MetalDescription, SaysWhatItIs) {
  StubState state;
  const auto gpu = make_gpu(state);
  EXPECT_EQ(gpu->name(), "metal");
  EXPECT_EQ(gpu->description(), "stub, 512.0 MiB of the memory's 1.00 GiB, products by Metal Performance Shaders");
}

// Every kernel is in the text that the program compiles, and no file is left to include that is not Metal's.
TEST(MetalText, IsWhole) {
  std::ifstream file(INK_METAL_TEXT);
  std::stringstream stream;
  stream << file.rdbuf();
  const std::string text = stream.str();
  for (int i = 0; i < gpu::kernels(); ++i) {
    const std::string begin = "\nKERNEL(" + std::string(name_of(static_cast<gpu::Kernel>(i))) + ",";
    EXPECT_NE(text.find(begin), std::string::npos) << begin;
  }
  EXPECT_NE(text.find("\nKERNEL(matmul,"), std::string::npos);
  EXPECT_EQ(text.find("#include \"ink/gpu/"), std::string::npos);
  EXPECT_NE(text.find("#line 1 \"ink/gpu/kernels/gemm.k.h\"\n// Matrix products"), std::string::npos);
}

}  // namespace
}  // namespace ink
