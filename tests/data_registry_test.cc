// data: the table of data sets, and what needs no download: the cache, and a mirror that is a folder or a file address.
#include <gtest/gtest.h>

#include "ink/base/sha256.h"
#include "ink/data/registry.h"
#include "tests/data_cache.h"
#include "tests/data_fixtures.h"

namespace ink {
namespace {

TEST(Registry, RowsAreWhole) {
  for (const Dataset& dataset : datasets()) {
    EXPECT_EQ(&find_dataset(dataset.name), &dataset);
    EXPECT_TRUE(dataset.url.starts_with("https://")) << dataset.name;
    EXPECT_EQ(dataset.sha256.size(), 64u) << dataset.name;
    EXPECT_GT(dataset.bytes, 0) << dataset.name;
    EXPECT_EQ(dataset.recipe.name.empty(), dataset.recipe.prepare == nullptr) << dataset.name;
    EXPECT_EQ(dataset.file.find('/'), std::string_view::npos) << dataset.name;
  }
}

TEST(Registry, UnknownNamesAreUsageErrorsWithTheNearest) {
  EXPECT_THROW(find_dataset("tinyshakespear"), UsageError);
  EXPECT_EQ(message_of([] { find_dataset("tinyshakespear"); }),
            "unknown data set 'tinyshakespear', did you mean 'tinyshakespeare'?; known: tinyshakespeare");
  EXPECT_EQ(message_of([] { find_dataset("zzz"); }), "unknown data set 'zzz'; known: tinyshakespeare");
  const Dataset& dataset = find_dataset("tinyshakespeare");
  EXPECT_THROW(prepare_recipe(dataset, "llmx", "file", "out"), UsageError);
  EXPECT_EQ(message_of([&] { prepare_recipe(dataset, "llmx", "file", "out"); }),
            "tinyshakespeare has no recipe llmx; it has llmc");
}

TEST_F(CacheTest, ComesFromAFolderThenFromTheCache) {
  write_file(mirror() / "set.txt", kContent);
  setenv("INK_MIRROR", mirror().c_str(), 1);
  EXPECT_EQ(get_dataset(dataset("nowhere://")), cached());
  EXPECT_EQ(read_file(cached()), kContent);
  fs::remove(mirror() / "set.txt");
  EXPECT_EQ(get_dataset(dataset("nowhere://")), cached()) << "the cache needs no mirror";
}

TEST_F(CacheTest, ADamagedCacheIsFetchedAgain) {
  write_file(mirror() / "set.txt", kContent);
  setenv("INK_MIRROR", mirror().c_str(), 1);
  std::string changed(kContent);
  changed[3] ^= 1;
  for (const std::string& damaged : {std::string(kContent.substr(1)), changed, std::string()}) {
    make_directories(cached().parent_path());
    write_file(cached(), damaged);
    get_dataset(dataset("nowhere://"));
    EXPECT_EQ(read_file(cached()), kContent);
  }
}

TEST_F(CacheTest, AFolderWithOtherContentIsRefusedWithBothHashes) {
  std::string changed(kContent);
  changed[3] ^= 1;
  write_file(mirror() / "set.txt", changed);
  setenv("INK_MIRROR", mirror().c_str(), 1);
  const std::string message = message_of([&] { get_dataset(dataset("nowhere://x")); });
  EXPECT_TRUE(contains(message, "SHA-256 " + sha256_hex(changed))) << message;
  EXPECT_TRUE(contains(message, "set has " + sha256_hex(kContent))) << message;
  EXPECT_TRUE(contains(message, "nowhere://x: ")) << "the public address was tried too: " << message;
  EXPECT_TRUE(contains(message, "set cannot be had: mirror ")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  write_file(mirror() / "set.txt", "short");
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset("nowhere://x")); }), "set.txt: 5 bytes, set has"));
  fs::remove(mirror() / "set.txt");
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset("nowhere://x")); }), "No such file"));
  EXPECT_FALSE(fs::exists(cached()));
}

TEST_F(CacheTest, TheCacheIsWhereXdgSaysElseInHome) {
  write_file(mirror() / "set.txt", kContent);
  setenv("INK_MIRROR", mirror().c_str(), 1);
  setenv("HOME", (dir_ / "home").c_str(), 1);
  for (const char* ignored : {"", "relative/path"}) {
    setenv("XDG_CACHE_HOME", ignored, 1);
    EXPECT_EQ(get_dataset(dataset("nowhere://")), dir_ / "home/.cache/inkling/set.txt");
  }
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset("nowhere://")); }), "set XDG_CACHE_HOME or HOME"));
}

TEST_F(CacheTest, ACacheThatCannotBeWrittenIsNamed) {
  write_file(dir_ / "file", "in the way");
  setenv("XDG_CACHE_HOME", (dir_ / "file").c_str(), 1);
  EXPECT_TRUE(
      contains(message_of([&] { get_dataset(dataset("nowhere://")); }), "file/inkling: cannot create the folder"));
}

}  // namespace
}  // namespace ink
