// data: downloads, from a server of a few lines on this machine: whole, resumed, broken off, refused and wrong.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>
#include <vector>

#include "ink/data/download.h"
#include "tests/data_cache.h"
#include "tests/data_fixtures.h"

namespace ink {
namespace {

// Answers one connection after another on 127.0.0.1, each with the next of the given replies, byte for byte, and keeps
// the requests. "RANGE" stands for the content from the offset that the request asks for.
class Server {
 public:
  explicit Server(std::vector<std::string> replies) : replies_(std::move(replies)) {
    std::signal(SIGPIPE, SIG_IGN);  // a client may hang up in the middle of a reply
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const bool ready = ::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                       ::listen(socket_, 16) == 0 &&
                       ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    check(ready, "no local server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    ::shutdown(socket_, SHUT_RDWR);
    const int wake = ::socket(AF_INET, SOCK_STREAM, 0);  // where shutdown does not end accept
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    stop_ = true;
    ::connect(wake, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::close(wake);
    thread_.join();
    ::close(socket_);
  }

  std::string url(const std::string& path = "set.txt") const {
    return fmt::format("http://127.0.0.1:{}/{}", port_, path);
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (size_t next = 0; next < replies_.size(); ++next) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection < 0 || stop_) {
        if (connection >= 0) ::close(connection);
        return;
      }
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
        if (n <= 0) break;
        request.append(buffer, static_cast<size_t>(n));
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      std::string reply = replies_[next];
      if (reply == "RANGE") {
        const size_t at = request.find("Range: bytes=");
        const size_t offset = at == std::string::npos ? 0 : std::stoul(request.substr(at + 13));
        reply = fmt::format(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n"
            "Connection: close\r\n\r\n{}",
            offset, kContent.size() - 1, kContent.size(), kContent.size() - offset, kContent.substr(offset));
      }
      ::send(connection, reply.data(), reply.size(), 0);
      ::shutdown(connection, SHUT_WR);
      while (::recv(connection, buffer, sizeof buffer, 0) > 0) {
      }
      ::close(connection);
    }
  }

  std::vector<std::string> replies_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

std::string ok(std::string_view content, size_t length) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", length, content);
}
std::string ok(std::string_view content) { return ok(content, content.size()); }
std::string status(std::string_view line, std::string_view header = "") {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: 5\r\nConnection: close\r\n\r\nsorry", line, header);
}

using DownloadTest = CacheTest;

TEST_F(DownloadTest, WholeFromThePublicAddress) {
  Server server({ok(kContent)});
  const std::string url = server.url();
  int64_t done = 0;
  const fs::path path = get_dataset(dataset(url), [&](int64_t d, int64_t total) {
    done = d;
    EXPECT_EQ(total, static_cast<int64_t>(kContent.size()));
  });
  EXPECT_EQ(path, cached());
  EXPECT_EQ(read_file(path), kContent);
  EXPECT_EQ(done, static_cast<int64_t>(kContent.size()));
  EXPECT_EQ(names_in(path.parent_path()), std::vector<std::string>{"set.txt"}) << "no part is left";
  EXPECT_FALSE(contains(server.requests().at(0), "Range:"));
}

TEST_F(DownloadTest, ResumesWhatAnEarlierRunLeft) {
  make_directories(part().parent_path());
  write_file(part(), kContent.substr(0, 20));
  Server server({"RANGE"});
  const std::string url = server.url();
  EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent);
  EXPECT_TRUE(contains(server.requests().at(0), "Range: bytes=20-"));
}

TEST_F(DownloadTest, ResumesABrokenTransfer) {
  Server server({ok(kContent.substr(0, 25), kContent.size()), "RANGE"});
  const std::string url = server.url();
  EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent);
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_TRUE(contains(server.requests().at(1), "Range: bytes=25-"));
}

TEST_F(DownloadTest, StartsOverWhereTheServerCannotResume) {
  for (const std::string& refusal : {ok(kContent), status("416 Range Not Satisfiable")}) {
    fs::remove(cached());
    make_directories(part().parent_path());
    write_file(part(), kContent.substr(0, 20));
    Server server({refusal, ok(kContent)});
    const std::string url = server.url();
    EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent);
    ASSERT_EQ(server.requests().size(), 2u) << refusal;
    EXPECT_FALSE(contains(server.requests().at(1), "Range:"));
  }
}

TEST_F(DownloadTest, APartThatIsCompleteNeedsNoRequest) {
  make_directories(part().parent_path());
  write_file(part(), kContent);
  EXPECT_EQ(read_file(get_dataset(dataset("http://127.0.0.1:1/set.txt"))), kContent);
}

TEST_F(DownloadTest, APartThatIsWrongIsThrownAway) {
  for (const std::string& wrong : {std::string(kContent.size() + 1, 'x'), std::string(kContent.size(), 'x'),
                                   std::string(kContent.size() - 5, 'x')}) {
    fs::remove(cached());
    make_directories(part().parent_path());
    write_file(part(), wrong);
    Server server({wrong.size() < kContent.size() ? "RANGE" : ok(kContent), ok(kContent)});
    const std::string url = server.url();
    EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent) << wrong.size();
  }
}

TEST_F(DownloadTest, WrongContentIsRefusedWithBothHashesAndRemoved) {
  std::string changed(kContent);
  changed[3] ^= 1;
  Server server({ok(changed)});
  const std::string url = server.url();
  const std::string message = message_of([&] { get_dataset(dataset(url)); });
  EXPECT_TRUE(contains(message, sha256_hex(changed))) << message;
  EXPECT_TRUE(contains(message, sha256_hex(kContent))) << message;
  EXPECT_TRUE(contains(message, url)) << message;
  EXPECT_TRUE(names_in(cached().parent_path()).empty());
}

TEST_F(DownloadTest, WrongSizesAreRefused) {
  Server longer({ok(std::string(kContent) + "and more")});
  const std::string longer_url = longer.url();
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset(longer_url)); }), "more than the expected 62 bytes"));
  EXPECT_TRUE(names_in(cached().parent_path()).empty());
  Server shorter({ok("short"), status("416 Range Not Satisfiable"), ok("short")});
  const std::string shorter_url = shorter.url();
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset(shorter_url)); }), "5 bytes, expected 62"));
  EXPECT_FALSE(fs::exists(cached()));
}

TEST_F(DownloadTest, HttpErrorsAreNamedByStatus) {
  Server server({status("404 Not Found")});
  const std::string url = server.url();
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset(url)); }), url + ": HTTP status 404;"));
  EXPECT_FALSE(fs::exists(cached()));
  EXPECT_EQ(server.requests().size(), 1u) << "404 is not tried again";
}

TEST_F(DownloadTest, ABusyServerIsTriedAgain) {
  Server server({status("503 Service Unavailable"), ok(kContent)});
  const std::string url = server.url();
  EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent);
}

TEST_F(DownloadTest, FollowsRedirectsButNotToOtherProtocols) {
  Server server({ok(kContent)});
  Server redirecting({status("302 Found", "Location: " + server.url() + "\r\n")});
  const std::string url = redirecting.url();
  EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent);
  fs::remove(cached());
  write_file(mirror() / "set.txt", kContent);
  Server leaking({status("302 Found", "Location: file://" + (mirror() / "set.txt").string() + "\r\n")});
  const std::string leak = leaking.url();
  EXPECT_TRUE(contains(message_of([&] { get_dataset(dataset(leak)); }), leak));
  EXPECT_FALSE(fs::exists(cached()));
}

TEST_F(DownloadTest, AMirrorAddressComesFirstAndMayFail) {
  Server mirror_server({ok(kContent), status("404 Not Found")});
  const std::string address = mirror_server.url("sets");
  setenv("INK_MIRROR", address.c_str(), 1);
  EXPECT_EQ(read_file(get_dataset(dataset("http://127.0.0.1:1/set.txt"))), kContent);
  EXPECT_TRUE(contains(mirror_server.requests().at(0), "GET /sets/set.txt "));
  fs::remove(cached());
  Server server({ok(kContent)});
  const std::string url = server.url();
  EXPECT_EQ(read_file(get_dataset(dataset(url))), kContent) << "the mirror's 404 leads to the public address";
  fs::remove(cached());
  setenv("INK_MIRROR", ("file://" + mirror().string()).c_str(), 1);
  const std::string message = message_of([&] { get_dataset(dataset("http://127.0.0.1:1/set.txt")); });
  EXPECT_TRUE(contains(message, "mirror file://")) << message;
  EXPECT_TRUE(contains(message, "; http://127.0.0.1:1/set.txt: ")) << message;
  EXPECT_TRUE(contains(message, "put set.txt into a folder and name that in INK_MIRROR")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  write_file(mirror() / "set.txt", kContent);
  EXPECT_EQ(read_file(get_dataset(dataset("http://127.0.0.1:1/set.txt"))), kContent) << "from a file address";
}

TEST_F(DownloadTest, AFileAddressResumes) {
  write_file(mirror() / "set.txt", kContent);
  make_directories(part().parent_path());
  write_file(part(), kContent.substr(0, 20));
  download("file://" + (mirror() / "set.txt").string(), part(), static_cast<int64_t>(kContent.size()), {});
  EXPECT_EQ(read_file(part()), kContent);
}

TEST_F(DownloadTest, AFullDiskIsNamed) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  Server server({ok(kContent)});
  EXPECT_EQ(message_of([&] { download(server.url(), "/dev/full", static_cast<int64_t>(kContent.size()), {}); }),
            "/dev/full: cannot write: No space left on device");
}

}  // namespace
}  // namespace ink
