// A data set of a few bytes, with cache and mirror in a folder of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "ink/base/file.h"
#include "ink/base/sha256.h"
#include "ink/data/registry.h"
#include "tests/temp_dir.h"

namespace ink {

inline constexpr std::string_view kContent = "The quick brown fox jumps over the lazy dog, twice and again.\n";

class CacheTest : public testing::Test {
 protected:
  CacheTest() : sha256_(sha256_hex(kContent)) {
    for (const char* name : {"XDG_CACHE_HOME", "HOME", "INK_MIRROR", "no_proxy"}) {
      const char* value = std::getenv(name);
      saved_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
    }
    make_directories(mirror());
    setenv("XDG_CACHE_HOME", (dir_ / "cache").c_str(), 1);
    setenv("no_proxy", "127.0.0.1", 1);
    unsetenv("INK_MIRROR");
  }
  ~CacheTest() override {
    for (const auto& [name, value] : saved_) {
      if (value) {
        setenv(name.c_str(), value->c_str(), 1);
      } else {
        unsetenv(name.c_str());
      }
    }
  }

  Dataset dataset(std::string_view url) const {
    return {.name = "set",
            .description = "",
            .url = url,
            .file = "set.txt",
            .sha256 = sha256_,
            .bytes = static_cast<int64_t>(kContent.size()),
            .recipe = {}};
  }
  fs::path cached() const { return dir_ / "cache/inkling/set.txt"; }
  fs::path part() const { return dir_ / "cache/inkling/set.txt.part"; }
  fs::path mirror() const { return dir_ / "mirror"; }

  TempDir dir_;

 private:
  std::string sha256_;
  std::map<std::string, std::optional<std::string>> saved_;
};

}  // namespace ink
