// Fetching a file over the network: download_curl.cc, or download_none.cc in a build without libcurl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace ink {

// Fetches the `bytes` bytes at an address (https, http, file) into the file `part`, going on from what it holds
// already. If the server cannot do that, it starts over; a transfer that breaks off is taken up again a few times. A
// part that is longer than `bytes` is discarded. Throws Error naming the address and the reason; the part stays for the
// next attempt, unless the server holds more than `bytes`.
void download(const std::string& url, const std::filesystem::path& part, int64_t bytes,
              const std::function<void(int64_t done, int64_t total)>& progress);

// What fetches in this build: "libcurl 7.88.1", or that nothing does.
std::string download_library();

}  // namespace ink
