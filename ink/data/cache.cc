// Where data sets are kept on this machine, and how they get there.
#include <cstdlib>
#include <string>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/base/sha256.h"
#include "ink/base/system.h"
#include "ink/data/download.h"
#include "ink/data/registry.h"

namespace ink {

namespace {

constexpr int64_t kHashAlwaysBelow = int64_t{64} << 20;  // hashing a cached file of this size takes a blink

using Progress = std::function<void(int64_t done, int64_t total)>;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_address(const std::string& mirror) { return mirror.find("://") != std::string::npos; }

// Throws Error unless the file is the data set's.
void check_content(const fs::path& path, const Dataset& dataset) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path, error);
  check(!error, "{}: cannot read: {}", path.string(), error.message());
  check(bytes == static_cast<uintmax_t>(dataset.bytes), "{}: {} bytes, {} has {}", path.string(), bytes, dataset.name,
        dataset.bytes);
  const std::string sha256 = sha256_file(path);
  check(sha256 == dataset.sha256, "{}: SHA-256 {}, {} has {}", path.string(), sha256, dataset.name, dataset.sha256);
}

bool is_cached(const fs::path& path, const Dataset& dataset) {
  std::error_code missing;
  if (!fs::is_regular_file(path, missing)) return false;
  if (fs::file_size(path, missing) != static_cast<uintmax_t>(dataset.bytes)) return false;
  return dataset.bytes >= kHashAlwaysBelow || sha256_file(path) == dataset.sha256;
}

void copy_from_folder(const fs::path& folder, const Dataset& dataset, const fs::path& path) {
  const fs::path source = folder / dataset.file;
  check_content(source, dataset);
  write_file(path, MappedFile(source).text());
}

void fetch(const std::string& url, const Dataset& dataset, const fs::path& path, const Progress& progress) {
  const fs::path part = path.string() + ".part";
  for (bool whole = false; !whole;) {
    const bool resumed = fs::exists(part);
    download(url, part, dataset.bytes, progress);
    try {
      check_content(part, dataset);
      whole = true;
    } catch (const Error& error) {
      remove_tree(part);  // it would only be resumed
      check(resumed, "{}: not what was expected: {}", url, error.what());
    }
  }
  std::error_code error;
  fs::rename(part, path, error);
  check(!error, "{}: cannot rename to {}: {}", part.string(), path.string(), error.message());
}

}  // namespace

fs::path get_dataset(const Dataset& dataset, const Progress& progress) {
  const fs::path folder = user_cache_folder();
  check(!folder.empty(), "no folder to keep data sets in; set XDG_CACHE_HOME or HOME");
  fs::path path = folder / dataset.file;
  if (is_cached(path, dataset)) return path;
  make_directories(folder);
  const std::string url(dataset.url), mirror = environment("INK_MIRROR");
  std::string mirror_error;
  if (!mirror.empty()) {
    try {
      if (is_address(mirror)) {
        fetch(fmt::format("{}{}{}", mirror, mirror.ends_with('/') ? "" : "/", dataset.file), dataset, path, progress);
      } else {
        copy_from_folder(mirror, dataset, path);
      }
      return path;
    } catch (const Error& error) {
      mirror_error = fmt::format("mirror {}; ", error.what());
    }
  }
  try {
    fetch(url, dataset, path, progress);
  } catch (const Error& error) {
    fail("{} cannot be had: {}{}; put {} into a folder and name that in INK_MIRROR", dataset.name, mirror_error,
         error.what(), dataset.file);
  }
  return path;
}

}  // namespace ink
