// data: downloads, from a server of a few lines on this machine: whole, resumed, broken off, refused and wrong.
#include <gtest/gtest.h>

#include <vector>

#include "ink/data/download.h"
#include "tests/data_cache.h"
#include "tests/data_fixtures.h"
#include "tests/local_server.h"

namespace ink {
namespace {

// Answers each request with the next of the given replies. "RANGE" stands for the content from the offset that the
// request asks for.
class Server : public LocalServer {
 public:
  explicit Server(std::vector<std::string> replies)
      : LocalServer([replies = std::move(replies), next = size_t{0}](const std::string& request) mutable {
          const std::string reply = next < replies.size() ? replies[next++] : "";
          return reply == "RANGE" ? partial(kContent, range_of(request)) : reply;
        }) {}
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
