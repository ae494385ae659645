// The build without libcurl: data sets come from the cache or from a folder.
#include "ink/base/check.h"
#include "ink/data/download.h"

namespace ink {

void download(const std::string& url, const std::filesystem::path& /*part*/, int64_t /*bytes*/,
              const std::function<void(int64_t done, int64_t total)>& /*progress*/, const std::string& /*token*/) {
  fail("{}: cannot be fetched, this build has no libcurl", url);
}

RemoteFile look_up(const std::string& url, const std::string& /*token*/) {
  fail("{}: cannot be fetched, this build has no libcurl", url);
}

std::string download_library() {
  return "none: built without libcurl, data sets come from the cache and INK_MIRROR folders";
}

}  // namespace ink
