// The table of devices and the memory they hand out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/ops/device.h"

namespace ink {
namespace {

TEST(Devices, AreMadeByName) {
  ThreadPool pool(2);
  const std::vector<DeviceInfo> infos = devices();
  ASSERT_GE(infos.size(), 2u);
  EXPECT_TRUE(infos[0].name == "cpu" || infos[0].name == "auto");
  for (const DeviceInfo& info : infos) {
    EXPECT_FALSE(info.description.empty());
    if (!is_present(info.name) || info.name == "auto") continue;  // auto would remember what it measures here
    const std::unique_ptr<Ops> ops = make_ops(info.name, pool);
    EXPECT_EQ(ops->name(), info.name);
    if (ops->reads_host_memory()) {
      EXPECT_EQ(ops->memory(), physical_memory());
    }
    EXPECT_GT(ops->memory(), size_t{1} << 28);
  }
}

TEST(Devices, CpuTellsInstructionsLibraryAndThreads) {
  ThreadPool one(1), two(2);
  const std::string line = make_ops("cpu", two)->description();
  EXPECT_EQ(std::count(line.begin(), line.end(), ','), 2) << line;
  EXPECT_TRUE(line.ends_with(", 2 threads")) << line;
  EXPECT_TRUE(make_ops("cpu", one)->description().ends_with(", 1 thread"));
}

TEST(Devices, Bf16ProductsAreTheOwnKernelsAndTheReferencesOnly) {
  ThreadPool pool(1);
  for (const DeviceInfo& info : devices()) {
    if (!is_present(info.name) || info.name == "auto") continue;  // auto would remember what it measures here
    EXPECT_EQ(make_ops(info.name, pool)->products(), DType::f32);
    if (info.name.starts_with("cpu-")) {
      EXPECT_THROW(make_ops(info.name, pool, DType::bf16), UsageError);
      continue;
    }
    const std::unique_ptr<Ops> ops = make_ops(info.name, pool, DType::bf16);
    EXPECT_EQ(ops->products(), DType::bf16);
    EXPECT_NE(ops->description().find("bf16"), std::string::npos) << info.name;
  }
}

TEST(Devices, UnknownNameIsAUsageErrorThatNamesTheOthers) {
  ThreadPool pool(1);
  try {
    make_ops("gpu", pool);
    FAIL() << "no error";
  } catch (const UsageError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("'gpu'"), std::string::npos) << what;
    EXPECT_NE(what.find("cpu, "), std::string::npos) << what;
    EXPECT_NE(what.find("ref"), std::string::npos) << what;
  }
}

TEST(Devices, GpuIsNumberedOrMissing) {
  ThreadPool pool(1);
  EXPECT_TRUE(is_present("cpu"));
  EXPECT_TRUE(is_present("emu"));
  EXPECT_FALSE(is_present("gpu"));
  EXPECT_THROW(make_ops("cpu:0", pool), UsageError);
  const std::vector<DeviceInfo> infos = devices();
  if (std::ranges::none_of(infos, [](const DeviceInfo& d) { return d.name == "cuda"; })) {
    EXPECT_THROW(make_ops("cuda", pool), UsageError);
    GTEST_SKIP() << "built without INK_CUDA";
  }
  for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    EXPECT_THROW(make_ops(name, pool), UsageError) << name;
  }
  EXPECT_THROW(make_ops("cuda:1000", pool), Error);
  if (is_present("cuda")) {
    EXPECT_EQ(make_ops("cuda:0", pool)->name(), "cuda");
    return;
  }
  try {
    make_ops("cuda", pool);
    FAIL() << "no error";
  } catch (const UsageError& error) {
    FAIL() << "the name is known: " << error.what();
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("cuda: ")) << error.what();
  }
}

TEST(Devices, PeakIsMeasuredOnce) {
  ThreadPool pool(2);
  const std::unique_ptr<Ops> ops = make_ops("cpu", pool);
  const double peak = ops->peak_flops();
  EXPECT_GT(peak, 1e8);
  EXPECT_EQ(ops->peak_flops(), peak);
  EXPECT_EQ(make_ops("ref", pool)->peak_flops(), 0);
  const Bandwidth bandwidth = ops->peak_bandwidth();
  EXPECT_GT(bandwidth.read, 1e7);
  EXPECT_GT(bandwidth.update, 1e7);
  EXPECT_GE(bandwidth.best(), bandwidth.read);
  EXPECT_EQ(ops->peak_bandwidth().read, bandwidth.read);
  EXPECT_EQ(make_ops("ref", pool)->peak_bandwidth().best(), 0);
}

class Memory : public testing::TestWithParam<const char*> {
 protected:
  ThreadPool pool_{2};
  std::unique_ptr<Ops> ops_ = make_ops(GetParam(), pool_);
};

TEST_P(Memory, BuffersAreZeroedAndAligned) {
  const std::unique_ptr<Buffer> buffer = ops_->allocate(100001);
  EXPECT_EQ(buffer->size(), 100001u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 4096, 0u);
  EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + 100001, [](std::byte b) { return b == std::byte{0}; }));
  std::memset(buffer->data(), 1, buffer->size());
  EXPECT_EQ(ops_->allocate(0)->size(), 0u);
}

TEST_P(Memory, TooMuchIsAnErrorThatNamesTheSize) {
  try {
    ops_->allocate(size_t{1} << 60);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("1073741824.00 GiB"), std::string::npos) << error.what();
  }
}

TEST_P(Memory, MovesToAndFromTheHost) {
  // More than one task's worth of bytes.
  const int64_t n = 700001;
  const std::unique_ptr<Buffer> buffer = ops_->allocate(2 * n * sizeof(float));
  const Tensor a(buffer->data(), DType::f32, {n}), b(buffer->data() + n * sizeof(float), DType::f32, {n});
  std::vector<float> host(n), back(n);
  for (int64_t i = 0; i < n; ++i) host[i] = static_cast<float>(i);
  ops_->upload(a, host.data());
  ops_->copy(b, a);
  ops_->download(back.data(), b);
  EXPECT_EQ(host, back);
  ops_->fill(a, 2.5f);
  EXPECT_TRUE(std::ranges::all_of(a.span<float>(), [](float x) { return x == 2.5f; }));
  EXPECT_EQ(b.f32()[0], 0.0f);
  EXPECT_EQ(b.f32()[n - 1], static_cast<float>(n - 1));
}

TEST_P(Memory, EmptyTensorsAreNoWork) {
  const Tensor none(nullptr, DType::f32, {0});
  ops_->upload(none, nullptr);
  ops_->download(nullptr, none);
  ops_->copy(none, none);
  ops_->fill(none, 1);
  EXPECT_EQ(ops_->sum_squares(none), 0);
  EXPECT_TRUE(ops_->all_finite(none));
}

INSTANTIATE_TEST_SUITE_P(Device, Memory, testing::Values("cpu", "ref"), [](const auto& i) { return i.param; });

}  // namespace
}  // namespace ink
