// Downloads with libcurl: resumed with range requests, retried, never redirected from https to http.
#include <curl/curl.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <string_view>
#include <thread>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/data/download.h"

namespace ink {

namespace {

constexpr int kAttempts = 4;
constexpr std::chrono::milliseconds kPause{250};  // before the second attempt, twice that before the third, ...
constexpr long kMaxRedirects = 10;
constexpr long kConnectSeconds = 20;
constexpr long kStallSeconds = 30;  // a transfer slower than 100 bytes a second for so long has broken off

enum class Outcome { done, start_over, retry };

// One transfer under way, as the callbacks see it.
struct Transfer {
  OutputFile out;
  int64_t held = 0;
  int64_t bytes = 0;
  const std::function<void(int64_t, int64_t)>* progress = nullptr;
  bool too_long = false;
  std::exception_ptr error;  // exceptions must not cross libcurl
};

size_t receive(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const size_t got = size * count;
  if (static_cast<int64_t>(got) > transfer.bytes - transfer.held) {
    transfer.too_long = true;
    return 0;
  }
  try {
    transfer.out.write(data, got);
    transfer.held += static_cast<int64_t>(got);
    if (*transfer.progress) (*transfer.progress)(transfer.held, transfer.bytes);
  } catch (...) {
    transfer.error = std::current_exception();
    return 0;
  }
  return got;
}

struct Cleanup {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, Cleanup>;

// What all requests have in common.
Handle make_handle(const std::string& url, const std::string& token, std::array<char, CURL_ERROR_SIZE>& message) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  Handle handle(initialised == CURLE_OK ? curl_easy_init() : nullptr);
  check(handle != nullptr, "{}: cannot be fetched, libcurl does not start", url);
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http,file");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, url.starts_with("https:") ? "https" : "https,http");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 100L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "inkling");
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message.data());
  if (!token.empty()) {  // libcurl keeps it from servers that it is redirected to
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, token.c_str());
  }
  return handle;
}

Handle make_download(const std::string& url, const std::string& token, Transfer& transfer,
                     std::array<char, CURL_ERROR_SIZE>& message) {
  Handle handle = make_handle(url, token, message);
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.held));
  return handle;
}

bool may_pass(CURLcode code, long status) {
  switch (code) {
    case CURLE_HTTP_RETURNED_ERROR:
      return status == 408 || status == 429 || status >= 500;
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

int64_t size_of_part(const fs::path& part) {
  std::error_code missing;
  const uintmax_t size = fs::file_size(part, missing);
  return missing ? 0 : static_cast<int64_t>(size);
}

// One attempt. `reason` is what went wrong, for an outcome that is not done; what cannot pass is thrown.
Outcome attempt(const std::string& url, const fs::path& part, int64_t bytes,
                const std::function<void(int64_t, int64_t)>& progress, const std::string& token, std::string& reason) {
  const bool unknown = bytes < 0;
  if (unknown) remove_tree(part);
  Transfer transfer;
  transfer.held = size_of_part(part);
  const bool resumed = transfer.held > 0;
  transfer.bytes = unknown ? kMaxUnknownBytes : bytes;
  transfer.progress = &progress;
  transfer.out = OutputFile(part, OutputFile::Mode::append);
  std::array<char, CURL_ERROR_SIZE> message{};
  const Handle handle = make_download(url, token, transfer, message);
  const CURLcode code = curl_easy_perform(handle.get());
  long status = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  transfer.out.close();
  if (transfer.error) std::rethrow_exception(transfer.error);
  const bool refused_range =
      code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME || (code == CURLE_OK && status == 416);
  if (resumed && (refused_range || transfer.too_long)) {
    remove_tree(part);
    reason = "the server cannot resume";
    return Outcome::start_over;
  }
  if (transfer.too_long) {
    remove_tree(part);
    fail("{}: more than the expected {} bytes; is this the right file?", url, transfer.bytes);
  }
  if (code == CURLE_OK && (unknown || transfer.held == bytes)) return Outcome::done;
  reason = code == CURLE_OK                           ? fmt::format("{} bytes, expected {}", transfer.held, bytes)
           : code == CURLE_HTTP_RETURNED_ERROR        ? fmt::format("HTTP status {}", status)
           : std::string_view(message.data()).empty() ? curl_easy_strerror(code)
                                                      : message.data();
  check(may_pass(code, status), "{}: {}", url, reason);
  return Outcome::retry;
}

// The headers of one answer.
struct Headers {
  RemoteFile file;
  bool linked = false;  // it tells about the file that it redirects to
};

// A line "Name: value" of an answer's head.
size_t receive_header(char* data, size_t size, size_t count, void* user) {
  auto& headers = *static_cast<Headers*>(user);
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  std::string name(line.substr(0, colon));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string_view value = line.substr(colon + 1);
  const auto is_padding = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '"'; };
  while (!value.empty() && is_padding(value.front())) value.remove_prefix(1);
  while (!value.empty() && is_padding(value.back())) value.remove_suffix(1);
  const auto is_hex = [&](size_t digits) {
    return value.size() == digits && value.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  };
  const bool is_size =
      !value.empty() && value.size() <= 18 && value.find_first_not_of("0123456789") == std::string_view::npos;
  const bool linked_size = name == "x-linked-size";
  if (is_size && (linked_size || (name == "content-length" && !headers.linked))) {
    headers.file.bytes = std::stoll(std::string(value));
    headers.linked = linked_size;
  }
  if (name == "x-linked-etag" && is_hex(64)) headers.file.sha256 = value;
  if (name == "x-repo-commit" && is_hex(40)) headers.file.commit = value;
  return line.size();
}

// Whether two addresses name the same server: equal up to the first slash after "://".
bool same_server(std::string_view a, std::string_view b) {
  const auto server = [](std::string_view url) {
    const size_t host = url.find("://");
    return host == std::string_view::npos ? url : url.substr(0, url.find('/', host + 3));
  };
  return server(a) == server(b);
}

// One request for the head; where the answer sends us elsewhere, `url` becomes that.
Outcome ask(std::string& url, const std::string& token, RemoteFile& file, std::string& reason) {
  std::array<char, CURL_ERROR_SIZE> message{};
  Headers headers;
  const Handle handle = make_handle(url, token, message);
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  const char* elsewhere = nullptr;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &elsewhere);
  if (file.commit.empty()) file.commit = headers.file.commit;
  if (file.sha256.empty()) file.sha256 = headers.file.sha256;
  if (code == CURLE_FILE_COULDNT_READ_FILE || (code == CURLE_OK && status == 404)) return Outcome::done;
  reason = code != CURLE_OK ? (message[0] == '\0' ? curl_easy_strerror(code) : message.data())
                            : fmt::format("HTTP status {}", status);
  if (code == CURLE_OK && status < 400) {
    const bool redirected = status >= 300 && elsewhere != nullptr && !headers.linked;
    if (redirected) {
      const std::string next = elsewhere;
      check(next.starts_with("https:") || (next.starts_with("http:") && !url.starts_with("https:")),
            "{}: redirected to {}, which is not followed", url, next);
      url = next;
      return Outcome::start_over;
    }
    file.found = true;
    file.bytes = headers.file.bytes;
    return Outcome::done;
  }
  const CURLcode kind = code == CURLE_OK ? CURLE_HTTP_RETURNED_ERROR : code;
  check(may_pass(kind, status), "{}: {}", url, reason);
  return Outcome::retry;
}

}  // namespace

RemoteFile look_up(const std::string& url, const std::string& token) {
  RemoteFile file;
  std::string at = url, reason;
  long redirects = 0;
  for (int tried = 0; tried < kAttempts;) {
    const Outcome outcome = ask(at, same_server(at, url) ? token : "", file, reason);
    if (outcome == Outcome::done) return file;
    if (outcome == Outcome::start_over) {
      check(++redirects <= kMaxRedirects, "{}: redirected more than {} times", url, kMaxRedirects);
      continue;
    }
    if (++tried < kAttempts) std::this_thread::sleep_for(kPause * (1 << (tried - 1)));
  }
  fail("{}: {}, after {} attempts", url, reason, kAttempts);
}

void download(const std::string& url, const fs::path& part, int64_t bytes,
              const std::function<void(int64_t, int64_t)>& progress, const std::string& token) {
  if (bytes >= 0 && size_of_part(part) > bytes) remove_tree(part);
  if (size_of_part(part) == bytes && bytes > 0) return;
  std::string reason;
  for (int tried = 0; tried < kAttempts; ++tried) {
    const Outcome outcome = attempt(url, part, bytes, progress, token, reason);
    if (outcome == Outcome::done) return;
    if (outcome == Outcome::retry && tried + 1 < kAttempts) std::this_thread::sleep_for(kPause * (1 << tried));
  }
  fail("{}: {}, after {} attempts", url, reason, kAttempts);
}

std::string download_library() { return fmt::format("libcurl {}", curl_version_info(CURLVERSION_NOW)->version); }

}  // namespace ink
