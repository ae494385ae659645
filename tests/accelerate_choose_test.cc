// What "--device auto" chooses, and that it stays chosen.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "ink/accelerate/accelerate_ops.h"
#include "ink/accelerate/choose.h"
#include "ink/base/check.h"
#include "ink/ops/device.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

using accelerate::device_name;
using accelerate::faster;
using accelerate::parse_uses;
using accelerate::remembered;
using accelerate::Timings;
using accelerate::Uses;

constexpr size_t kCount = std::size(accelerate::kOperations);

Timings even() { return Timings(kCount, {.cpu = 1, .accelerate = 1}); }
Timings with_fast(std::initializer_list<size_t> operations) {
  Timings timings = even();
  for (const size_t i : operations) timings[i].accelerate = 0.5;
  return timings;
}

TEST(Choose, TheClearlyFasterOneOfEachOperation) {
  EXPECT_EQ(device_name(faster(even())), "cpu");
  EXPECT_EQ(device_name(faster(Timings(kCount, {.cpu = 1, .accelerate = 0.95}))), "cpu") << "within the noise";
  EXPECT_EQ(device_name(faster(Timings(kCount, {.cpu = 1, .accelerate = 0.85}))), "accelerate");
  EXPECT_EQ(device_name(faster(with_fast({accelerate::gemm_op, accelerate::adamw_op}))), "accelerate:gemm,adamw");
  EXPECT_EQ(device_name(faster({})), "cpu");
}

TEST(Choose, NamesAreReadBack) {
  for (unsigned bits = 1; bits + 1 < 1U << kCount; ++bits) {
    const std::string name = device_name(Uses(bits));
    ASSERT_TRUE(name.starts_with("accelerate:")) << name;
    EXPECT_EQ(parse_uses(name.substr(11)), Uses(bits)) << name;
  }
  EXPECT_EQ(parse_uses("sgd,gemm,sgd"), parse_uses("gemm,sgd"));
  for (const char* wrong : {"", "gem", "gemm,", ",gemm", "gemm adamw", "attention"}) {
    EXPECT_THROW(parse_uses(wrong), UsageError) << wrong;
  }
}

class Remembered : public testing::Test {
 protected:
  std::string choose(const std::string& key, const Timings& timings) {
    return device_name(remembered(file_, key, [&] {
      ++measured_;
      return timings;
    }));
  }
  TempDir dir_;
  std::filesystem::path file_ = dir_ / "new/folder/auto.txt";
  int measured_ = 0;
};

TEST_F(Remembered, AChoiceIsMadeOnceForAMachine) {
  const Timings gemm = with_fast({accelerate::gemm_op}), all(kCount, {.cpu = 1, .accelerate = 0.1});
  EXPECT_EQ(choose("M1, 8 threads", gemm), "accelerate:gemm");
  EXPECT_EQ(choose("M1, 8 threads", all), "accelerate:gemm") << "the next start measures something else";
  EXPECT_EQ(measured_, 1);
  EXPECT_EQ(choose("M1, 8 threads, bf16", all), "accelerate");
  EXPECT_EQ(choose("M2", even()), "cpu");
  EXPECT_EQ(measured_, 3);
  EXPECT_EQ(choose("M1, 8 threads, bf16", even()), "accelerate");
  EXPECT_EQ(choose("M2", all), "cpu");
  EXPECT_EQ(choose("M1, 8 threads", even()), "accelerate:gemm");
  EXPECT_EQ(measured_, 3);
}

TEST_F(Remembered, WhatCannotBeReadIsMeasured) {
  std::filesystem::create_directories(file_.parent_path());
  for (const char* text : {"M1: accelerate:gemm,warp\n", "M1: \n", "M1: cuda\n", "M1\n", "\n", "M1: accelerate:\n"}) {
    std::ofstream(file_) << text;
    EXPECT_EQ(choose("M1", with_fast({accelerate::gelu_op})), "accelerate:gelu") << text;
  }
  EXPECT_EQ(measured_, 6);
}

TEST_F(Remembered, WithoutAPlaceToWriteItIsMeasuredEachTime) {
  file_ = dir_ / "file/auto.txt";
  std::ofstream(dir_ / "file") << "not a folder";
  EXPECT_EQ(choose("M1", even()), "cpu");
  EXPECT_EQ(choose("M1", even()), "cpu");
  file_.clear();
  EXPECT_EQ(choose("M1", even()), "cpu");
  EXPECT_EQ(measured_, 3);
}

TEST(Devices, AccelerateForSomeOperationsOnly) {
  ThreadPool pool(2);
  const auto ops = make_ops("accelerate:adamw,gemm", pool);
  EXPECT_EQ(ops->name(), "accelerate:gemm,adamw");
  EXPECT_NE(ops->description().find(" for gemm,adamw"), std::string::npos) << ops->description();
  EXPECT_THROW(make_ops("accelerate:all", pool), UsageError);
  // GELU is the cpu device's then, to the bit.
  std::vector<float> x(1000), some(1000), cpu(1000), all(1000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = -5 + 0.01f * static_cast<float>(i);
  const auto gelu = [&](const std::string& device, std::vector<float>& out) {
    const auto by = make_ops(device, pool);
    by->gelu({.out = Tensor(out.data(), DType::f32, {1000}), .in = Tensor(x.data(), DType::f32, {1000})});
  };
  gelu("accelerate:adamw,gemm", some);
  gelu("cpu", cpu);
  gelu("accelerate", all);
  EXPECT_EQ(some, cpu);
  EXPECT_NE(all, cpu);
}

TEST(Devices, AutoIsMeasuredOnceAndNamesWhatItChose) {
  const TempDir dir;
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string saved = before == nullptr ? "" : before;
  setenv("XDG_CACHE_HOME", (dir / "").c_str(), 1);
  ThreadPool pool(2), other(1);
  EXPECT_EQ(devices().front().name, "auto");
  const std::string name = make_ops("auto", pool)->name();
  EXPECT_EQ(make_ops(name, pool)->name(), name);
  std::ifstream file(dir / "inkling/device-auto.txt");
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  EXPECT_TRUE(line.ends_with(": " + name)) << line;
  EXPECT_EQ(make_ops("auto", other)->name(), name) << "with another number of threads";
  EXPECT_FALSE(std::getline(file, line)) << "measured again: " << line;
  saved.empty() ? unsetenv("XDG_CACHE_HOME") : setenv("XDG_CACHE_HOME", saved.c_str(), 1);
}

// All operations run, on both, at their sizes.
TEST(Choose, EveryOperationIsTimed) {
  ThreadPool pool(2);
  const Timings timings = accelerate::time_operations(*make_ops("cpu", pool), *make_ops("accelerate", pool));
  ASSERT_EQ(timings.size(), kCount);
  for (const accelerate::Timing& t : timings) {
    EXPECT_GT(t.cpu, 0);
    EXPECT_LT(t.cpu, 100);
    EXPECT_GT(t.accelerate, 0);
    EXPECT_LT(t.accelerate, 100);
  }
}

}  // namespace
}  // namespace ink
