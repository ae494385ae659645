// Fetching a file over the network: download_curl.cc, or download_none.cc in a build without libcurl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace ink {

// What a server says about a file without sending it.
struct RemoteFile {
  bool found = false;  // false for HTTP status 404: it has no such file
  int64_t bytes = -1;  // -1 where it does not say
  std::string sha256;  // where it says: Hugging Face does for large files, in X-Linked-ETag
  std::string commit;  // of the repository, where it says: Hugging Face does, in X-Repo-Commit
};

// Asks for a file's headers. A token is sent as a bearer's, and not to other servers that this one redirects to. Throws
// Error naming the address and the reason.
RemoteFile look_up(const std::string& url, const std::string& token = "");

// Fetches the `bytes` bytes at an address (https, http, file) into the file `part`, going on from what it holds
// already. If the server cannot do that, it starts over; a transfer that breaks off is taken up again a few times. A
// part that is longer than `bytes` is discarded. Throws Error naming the address and the reason; the part stays for the
// next attempt, unless the server holds more than `bytes`.
// Negative `bytes` are not known: whatever the server sends is the file, up to kMaxUnknownBytes, and every attempt
// starts over.
void download(const std::string& url, const std::filesystem::path& part, int64_t bytes,
              const std::function<void(int64_t done, int64_t total)>& progress, const std::string& token = "");

inline constexpr int64_t kMaxUnknownBytes = int64_t{256} << 20;

// What fetches in this build: "libcurl 7.88.1", or that nothing does.
std::string download_library();

}  // namespace ink
