// base: errors, number formats, random numbers, the thread pool, files.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#include "ink/base/check.h"
#include "ink/base/dtype.h"
#include "ink/base/file.h"
#include "ink/base/parallel.h"
#include "ink/base/rng.h"
#include "ink/base/sha256.h"
#include "ink/base/system.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

TEST(Check, ThrowsTheFormattedMessage) {
  EXPECT_NO_THROW(check(true, "never {}", 1));
  try {
    check(false, "{}: bad value {}", "file.bin", 7);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "file.bin: bad value 7");
  }
}

TEST(DType, Bf16RoundTripsEveryPattern) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value))));
    } else {
      EXPECT_EQ(f32_to_bf16(value), bits);
    }
  }
}

TEST(DType, F16RoundTripsEveryPattern) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
    } else {
      EXPECT_EQ(f32_to_f16(value), bits) << value;
    }
  }
}

TEST(DType, NarrowingRoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);  // a tie goes to the even neighbour
  EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);  // half of the smallest subnormal: a tie to zero
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1);
  EXPECT_EQ(f32_to_f16(-0x1p-24f), 0x8001);
}

// The numbers are torch's for torch.manual_seed(137): torch.randint, Tensor.normal_ of 8 and of 16.
TEST(Mt19937, GivesTorchsNumbers) {
  Mt19937 rng(137);
  for (const uint32_t expected : {4053805790u, 2173880614u, 380293709u, 1237255315u, 2986595568u}) {
    EXPECT_EQ(rng.next_u32(), expected);
  }
  std::array<float, 8> t8{};
  rng.normal(t8, 0, 1);
  const std::array<float, 8> expected8 = {0.7947664260864258f,  1.4369317293167114f,  -0.2292192131280899f,
                                          0.47556325793266296f, -0.6334410905838013f, -0.5791953802108765f,
                                          -0.0925704762339592f, -0.8659197092056274f};
  for (int i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(t8[i], expected8[i]);
  EXPECT_EQ(rng.next_u32(), 2186503452u);
  std::array<float, 16> t16{};
  rng.normal(t16, 0, 1);
  EXPECT_FLOAT_EQ(t16[0], -1.2813878059387207f);
  EXPECT_FLOAT_EQ(t16[15], 0.3961987793445587f);
  EXPECT_EQ(rng.next_u32(), 2756748748u);
}

TEST(Mt19937, SavesAndRestoresAtEveryPosition) {
  for (const int draws : {0, 1, 2, 623, 624, 625, 1300}) {
    Mt19937 rng(42);
    for (int i = 0; i < draws; ++i) rng.next_u32();
    Mt19937 copy(1);
    copy.restore(rng.save());
    for (int i = 0; i < 700; ++i) ASSERT_EQ(copy.next_u32(), rng.next_u32()) << draws << " draws, then " << i;
  }
}

TEST(Mt19937, RefusesWhatIsNotAState) {
  Mt19937 rng(42);
  const std::string good = rng.save();
  const std::string cut = good.substr(0, good.size() / 2);
  const std::string words_out_of_range = "999999 7" + good.substr(good.find(' ', 2));
  for (const std::string& bad : {std::string(), std::string("1 0"), cut, good + " 1", words_out_of_range}) {
    EXPECT_THROW(rng.restore(bad), Error) << bad.substr(0, 20);
  }
  EXPECT_EQ(rng.save(), good) << "a refused state changes nothing";
}

TEST(Mt19937, ShuffleIsAPermutation) {
  std::vector<int32_t> values(1000);
  std::iota(values.begin(), values.end(), 0);
  Mt19937 rng(42);
  rng.shuffle(values);
  std::vector<int32_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(sorted[i], i);
  EXPECT_NE(values, sorted);
}

TEST(XorShift, IsLlmcsSampler) {
  XorShift rng(1337);
  uint64_t state = 1337;
  for (int i = 0; i < 100; ++i) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    ASSERT_EQ(rng.next_u32(), static_cast<uint32_t>((state * 0x2545F4914F6CDD1Dull) >> 32));
  }
  EXPECT_NE(XorShift(0).next_u32(), 0u) << "seed 0 must not be the fixed point";
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<std::atomic<int>> counts(1000);
    for (int64_t tasks : {0, 1, 2, 3, 999, 1000}) {
      for (auto& count : counts) count = 0;
      pool.run(tasks, [&](int64_t task) { ++counts[task]; });
      for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(counts[i], i < tasks ? 1 : 0) << threads << " threads, task " << i;
    }
  }
}

#ifdef __linux__
// Processors that the calling thread may run on.
int processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return CPU_COUNT(&set);
}

TEST(ThreadPool, PinnedThreadsKeepToOneProcessorEachWhileThePoolLives) {
  const int all = processors();
  {
    ThreadPool pool(all, ThreadPool::Pin::yes);
    EXPECT_EQ(pool.threads(), all);
    std::atomic<int> tasks = 0;
    pool.run(1000, [&](int64_t) {
      if (processors() == 1) ++tasks;
    });
    EXPECT_EQ(tasks, 1000);
    // Another pool's threads do not inherit it.
    ThreadPool other(all + 1, ThreadPool::Pin::yes);
    std::atomic<int> free = 0, started = 0;
    other.run(all + 1, [&](int64_t) {
      ++started;
      while (started <= all) std::this_thread::yield();  // every thread takes one task
      if (processors() == all) ++free;
    });
    EXPECT_GE(free, all);
  }
  EXPECT_EQ(processors(), all);
  EXPECT_EQ(ThreadPool().threads(), all);
}
#endif

TEST(ThreadPool, SurvivesManyShortJobs) {
  ThreadPool pool(4);
  int64_t total = 0;
  for (int job = 0; job < 20000; ++job) {
    std::array<int64_t, 7> parts{};
    pool.run(1 + job % 7, [&](int64_t task) { parts[task] = task + 1; });
    for (const int64_t part : parts) total += part;
  }
  int64_t expected = 0;
  for (int job = 0; job < 20000; ++job) expected += (1 + job % 7) * (2 + job % 7) / 2;
  EXPECT_EQ(total, expected);
}

TEST(ThreadPool, RangesCoverWithoutOverlap) {
  ThreadPool pool(3);
  std::vector<int> counts(1001);
  pool.run_range(1001, 64, [&](int64_t begin, int64_t end) {
    EXPECT_LE(end - begin, 64);
    for (int64_t i = begin; i < end; ++i) ++counts[i];
  });
  for (const int count : counts) EXPECT_EQ(count, 1);
}

TEST(File, ReadsWhatWasWritten) {
  const TempDir dir;
  write_file(dir / "a.txt", "hello");
  EXPECT_EQ(read_file(dir / "a.txt"), "hello");
  EXPECT_EQ(MappedFile(dir / "a.txt").text(), "hello");
  write_file(dir / "a.txt", "");
  EXPECT_EQ(MappedFile(dir / "a.txt").bytes().size(), 0u);
  // Dropped parts read as before, wherever they begin and end.
  std::string pages(100'000, ' ');
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<char>(i * 2654435761u >> 24);
  write_file(dir / "pages", pages);
  const MappedFile mapped(dir / "pages");
  for (const auto& [begin, size] : {std::pair{0, 100'000}, {5, 10}, {4000, 9000}, {65'537, 34'463}, {100'000, 0}}) {
    mapped.drop(mapped.bytes().subspan(static_cast<size_t>(begin), static_cast<size_t>(size)));
    EXPECT_EQ(mapped.text(), pages) << begin;
  }
  MappedFile().drop({});
  OutputFile log(dir / "a.txt", OutputFile::Mode::append);
  log.write("one\n");
  log.write("two\n");
  EXPECT_EQ(read_file(dir / "a.txt"), "one\ntwo\n");
}

TEST(File, ErrorsNameThePath) {
  const TempDir dir;
  const auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message([&] { MappedFile(dir / "none"); }).find("none: cannot open: No such file"), std::string::npos);
  EXPECT_NE(message([&] { read_file(dir.path()); }).find("is a folder"), std::string::npos);
  EXPECT_NE(message([&] { write_file(dir / "no" / "such" / "file", "x"); }).find("cannot write"), std::string::npos);
}

TEST(File, AtomicFileAppearsOnCommitOnly) {
  const TempDir dir;
  write_file(dir / "a", "old");
  {
    AtomicFile file(dir / "a");
    file.write("new");
  }
  EXPECT_EQ(read_file(dir / "a"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1) << "the part is removed";
  {
    AtomicFile file(dir / "a");
    file.write("n3w");
    file.out().write_at(1, "e", 1);
    file.commit();
  }
  EXPECT_EQ(read_file(dir / "a"), "new");
}

TEST(File, AtomicFilesTakeThePlaceOfFilesOnly) {
  const TempDir dir;
  fs::create_directory(dir / "folder");
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  for (const char* name : {"folder", "pipe"}) {
    EXPECT_THROW(write_file(dir / name, "x"), Error) << name;
  }
  EXPECT_TRUE(fs::is_fifo(dir / "pipe"));
}

TEST(File, AtomicDirectoryAppearsOnCommitOnly) {
  const TempDir dir;
  fs::create_directory(dir / ".step.tmp");  // as a killed process leaves it
  write_file(dir / ".step.tmp" / "stale", "x");
  {
    AtomicDirectory step(dir / "step");
    write_file(step.temporary() / "a", "1");
    EXPECT_TRUE(is_temporary_name(step.temporary()));
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
  {
    AtomicDirectory step(dir / "step");
    write_file(step.temporary() / "a", "1");
    step.commit();
  }
  EXPECT_EQ(read_file(dir / "step" / "a"), "1");
  EXPECT_FALSE(fs::exists(dir / "step" / "stale"));
  EXPECT_FALSE(is_temporary_name(dir / "step"));
  EXPECT_THROW(AtomicDirectory(dir / "step"), Error);
}

TEST(File, TwoWritersOfOneNameDoNotMix) {
  const TempDir dir;
  AtomicFile file(dir / "a");
  file.write("one");
  EXPECT_THROW(AtomicFile(dir / "a"), Error);
  file.commit();
  EXPECT_EQ(read_file(dir / "a"), "one");
  AtomicDirectory folder(dir / "b");
  write_file(folder.temporary() / "x", "one");
  EXPECT_THROW(AtomicDirectory(dir / "b"), Error);
  folder.commit();
  EXPECT_EQ(read_file(dir / "b" / "x"), "one");
}

TEST(File, WhatAKilledWriterLeftIsNotInTheWay) {
  const TempDir dir;
  OutputFile(dir / ".a.tmp", OutputFile::Mode::create).write("longer than what comes");
  write_file(dir / "a", "new");
  EXPECT_EQ(read_file(dir / "a"), "new");
  make_directories(dir / ".b.tmp");
  OutputFile(dir / ".b.tmp/old", OutputFile::Mode::create).write("old");
  AtomicDirectory(dir / "b").commit();
  EXPECT_TRUE(fs::exists(dir / "b"));
  EXPECT_FALSE(fs::exists(dir / "b" / "old"));
}

TEST(File, AtomicDirectoryReplacesOnCommitOnly) {
  const TempDir dir;
  fs::create_directory(dir / "data");
  write_file(dir / "data" / "old", "1");
  {
    AtomicDirectory data(dir / "data", AtomicDirectory::Existing::replace);
    write_file(data.temporary() / "new", "2");
  }
  EXPECT_TRUE(fs::exists(dir / "data" / "old"));
  AtomicDirectory data(dir / "data", AtomicDirectory::Existing::replace);
  write_file(data.temporary() / "new", "2");
  data.commit();
  EXPECT_FALSE(fs::exists(dir / "data" / "old"));
  EXPECT_EQ(read_file(dir / "data" / "new"), "2");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(File, AtomicDirectoryRemovesTheParentsItMade) {
  const TempDir dir;
  { AtomicDirectory deep(dir / "a" / "b" / "c"); }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(File, AFolderIsLockedOnce) {
  const TempDir dir;
  {
    const FolderLock lock(dir.path());
    EXPECT_THROW(FolderLock{dir.path()}, Error);
  }
  EXPECT_NO_THROW(FolderLock{dir.path()});
  EXPECT_THROW(FolderLock{dir / "none"}, Error);
}

TEST(File, AFullDiskIsAnErrorThatNamesTheFile) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  OutputFile full("/dev/full", OutputFile::Mode::append);
  try {
    full.write("x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "/dev/full: cannot write: No space left on device");
  }
}

// FIPS 180-4's examples.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const TempDir dir;
  write_file(dir / "abc", "abc");
  EXPECT_EQ(sha256_file(dir / "abc"), sha256_hex("abc"));
}

TEST(System, TellsSomethingPlausible) {
  EXPECT_GT(physical_memory(), size_t{1} << 26);
  EXPECT_GE(hardware_threads(), 1);
  EXPECT_FALSE(cpu_name().empty());
}

}  // namespace
}  // namespace ink
