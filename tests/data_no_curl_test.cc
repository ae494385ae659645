// data: a build without libcurl still takes data sets from a folder, and says what to do where it cannot.
#include <gtest/gtest.h>

#include "tests/data_cache.h"
#include "tests/data_fixtures.h"

namespace ink {
namespace {

TEST_F(CacheTest, WithoutLibcurlAFolderStillWorks) {
  EXPECT_EQ(message_of([&] { get_dataset(dataset("https://example.org/set.txt")); }),
            "set cannot be had: https://example.org/set.txt: cannot be fetched, this build has no libcurl; put set.txt "
            "into a folder and name that in INK_MIRROR");
  write_file(mirror() / "set.txt", kContent);
  setenv("INK_MIRROR", mirror().c_str(), 1);
  EXPECT_EQ(get_dataset(dataset("https://example.org/set.txt")), cached());
}

}  // namespace
}  // namespace ink
