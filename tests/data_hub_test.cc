// data: model folders from Hugging Face, served by this machine: whole, resumed, damaged, sharded, from a mirror.
#include <map>

#include "ink/base/sha256.h"
#include "ink/data/hub.h"
#include "ink/format/model_io.h"
#include "ink/format/safetensors.h"
#include "tests/data_cache.h"
#include "tests/data_fixtures.h"
#include "tests/local_server.h"
#include "tests/model_helpers.h"

namespace ink {
namespace {

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

// A hub with one model: main is a commit's name, large files have a SHA-256 and lie elsewhere.
class Hub {
 public:
  explicit Hub(std::map<std::string, std::string> files) : files_(std::move(files)) {}

  std::string operator()(const std::string& request) {
    const size_t begin = request.find(' ') + 1;
    std::string path = request.substr(begin, request.find(' ', begin) - begin);
    const bool head = request.starts_with("HEAD ");
    if (path == break_off && !head && !std::exchange(broken_, true)) {
      const std::string& content = files_.at(name_of(path));
      return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", content.size(), content.substr(0, 100));
    }
    if (!status.empty()) return "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n";
    const bool known = path.starts_with("/some/tiny/resolve/main/") ||
                       path.starts_with("/some/tiny/resolve/" + kCommit + "/") || path.starts_with("/cdn/");
    if (!known || !files_.contains(name_of(path))) return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const std::string& content = files_.at(name_of(path));
    const bool large = path.find(".safetensors") != std::string::npos && !path.ends_with(".json");
    if (large && !path.starts_with("/cdn/")) {
      return fmt::format(
          "HTTP/1.1 302 Found\r\nX-Repo-Commit: {}\r\nX-Linked-Size: {}\r\nX-Linked-ETag: \"{}\"\r\nLocation: "
          "/cdn/{}\r\nContent-Length: 0\r\n\r\n",
          kCommit, content.size(), sha256_hex(promised.empty() ? content : promised), name_of(path));
    }
    if (range_of(request) > 0) return partial(content, range_of(request));
    return fmt::format("HTTP/1.1 200 OK\r\nX-Repo-Commit: {}\r\nContent-Length: {}\r\n\r\n{}", kCommit, content.size(),
                       head ? "" : content);
  }

  std::string break_off;  // the path whose first transfer ends early
  std::string promised;   // the content that SHA-256 are of, if not the real one
  std::string status;     // of every answer

 private:
  static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  std::map<std::string, std::string> files_;
  bool broken_ = false;
};

class HubTest : public CacheTest {
 protected:
  HubTest() {
    make_directories(model());
    ThreadPool pool(1);
    const auto ops = make_ops("ref", pool);
    Gpt2Config config = kTiny;
    config.vocab = 256;
    save_huggingface(model(), *make_model(*ops, {}, config));
    make_byte_tokenizer()->save(model());
    write_file(model() / "generation_config.json", "{}");
  }

  fs::path model() const { return dir_ / "mirror/some/tiny"; }
  fs::path out() const { return dir_ / "out"; }
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> files;
    for (const std::string& name : names_in(model())) files[name] = read_file(model() / name);
    return files;
  }
  void expect_whole() const {
    EXPECT_EQ(names_in(out()), names_in(model()));
    for (const auto& [name, content] : files()) EXPECT_EQ(read_file(out() / name), content) << name;
    EXPECT_FALSE(fs::exists(out().string() + ".part"));
  }
  static HubOptions at(const LocalServer& server) {
    HubOptions options;
    options.address = server.url("");
    options.address.pop_back();
    return options;
  }
  std::string refusal(const HubOptions& options, const std::string& name = "some/tiny") {
    const std::string message = message_of([&] { get_model(name, out(), options); });
    EXPECT_FALSE(fs::exists(out())) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
};

TEST_F(HubTest, NamesAreCheckedBeforeAnythingElse) {
  EXPECT_EQ(hub_name("gpt2"), "openai-community/gpt2");
  EXPECT_EQ(hub_name("gpt2-xl"), "openai-community/gpt2-xl");
  EXPECT_EQ(hub_name("Some_Org/a-Model.v2"), "Some_Org/a-Model.v2");
  for (const char* bad : {"", "gpt3", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/.hidden", "a/b c", "a/b?x", "a/b\n",
                          "a//b", "http://x/y", "a/b..c"}) {
    EXPECT_THROW(hub_name(bad), UsageError) << bad;
  }
  for (const char* bad : {"", "..", "a/../b", "/a", "a/", "a b", "a?b", "a#b"}) {
    HubOptions options;
    options.revision = bad;
    EXPECT_THROW(get_model("some/tiny", out(), options), UsageError) << bad;
  }
  make_directories(out());
  EXPECT_TRUE(contains(message_of([&] { get_model("some/tiny", out(), {}); }), "exists already"));
}

TEST_F(HubTest, WholeFromOneCommit) {
  LocalServer server{Hub(files())};
  std::string last;
  HubOptions options = at(server);
  options.token = "secret";
  options.progress = [&](const std::string& file, int64_t, int64_t) { last = file; };
  const HubResult result = get_model("some/tiny", out(), options);
  expect_whole();
  EXPECT_EQ(result.files, names_in(model()));
  EXPECT_EQ(last, "generation_config.json");
  EXPECT_EQ(result.from, options.address + "/some/tiny/resolve/" + kCommit + "/");
  EXPECT_TRUE(contains(server.requests().front(), "HEAD /some/tiny/resolve/main/config.json "));
  EXPECT_TRUE(contains(server.requests().front(), "Authorization: Bearer secret\r\n"));
  EXPECT_TRUE(contains(server.requests().back(), "GET /some/tiny/resolve/" + kCommit + "/generation_config.json "));
  EXPECT_EQ(open_model(out())->config().vocab, 256);
}

TEST_F(HubTest, ATokenStaysWithItsServer) {
  const std::string weights = files().at("model.safetensors");
  LocalServer elsewhere([&](const std::string&) {
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", weights.size(), weights);
  });
  Hub hub(files());
  LocalServer server([&](const std::string& request) {
    std::string reply = hub(request);
    const size_t at = reply.find("Location: /cdn/");
    return at == std::string::npos ? reply : reply.replace(at + 10, 5, elsewhere.url("cdn/"));
  });
  HubOptions options = at(server);
  options.token = "secret";
  get_model("some/tiny", out(), options);
  expect_whole();
  ASSERT_EQ(elsewhere.requests().size(), 1u) << "the head is not asked for there";
  EXPECT_FALSE(contains(elsewhere.requests().at(0), "secret"));
}

TEST_F(HubTest, ABrokenTransferIsResumed) {
  Hub hub(files());
  hub.break_off = "/cdn/model.safetensors";
  LocalServer server(hub);
  get_model("some/tiny", out(), at(server));
  expect_whole();
  bool resumed = false;
  for (const std::string& request : server.requests()) resumed = resumed || contains(request, "Range: bytes=100-");
  EXPECT_TRUE(resumed);
}

TEST_F(HubTest, ALaterRunGoesOn) {
  const std::string weights = files().at("model.safetensors");
  make_directories(out().string() + ".part");
  const fs::path whole = out().string() + ".part/model.safetensors";
  const std::string damaged = "x" + weights.substr(1);
  struct Case {
    std::string file, content, wanted;
  };
  for (const Case& c : {Case{".part", weights.substr(0, 50), "Range: bytes=50-"},
                        {"", weights, ""},
                        {".part", damaged.substr(0, 50), "Range: bytes=50-"},
                        {"", damaged, "GET /cdn/model.safetensors"}}) {
    fs::remove_all(out());
    make_directories(whole.parent_path());
    write_file(whole.string() + c.file, c.content);
    write_file(whole.parent_path() / "model-00002-of-00002.safetensors", "of another revision");
    write_file(whole.parent_path() / "tokenizer.json", "of another revision");
    LocalServer server{Hub(files())};
    get_model("some/tiny", out(), at(server));
    expect_whole();
    std::string all;
    for (const std::string& request : server.requests()) all += request;
    EXPECT_TRUE(contains(all, c.wanted)) << c.wanted;
    EXPECT_EQ(contains(all, "GET /cdn/"), !c.wanted.empty()) << "what is whole is not fetched";
  }
}

TEST_F(HubTest, WrongContentIsRefused) {
  Hub hub(files());
  hub.promised = "something else";
  LocalServer server(hub);
  EXPECT_TRUE(contains(refusal(at(server)), sha256_hex("something else")));
  std::map<std::string, std::string> truncated = files();
  truncated["model.safetensors"].resize(truncated["model.safetensors"].size() - 4);
  LocalServer short_server{Hub(truncated)};
  EXPECT_TRUE(contains(refusal(at(short_server)), "model.safetensors"));
  EXPECT_TRUE(fs::exists(out().string() + ".part/model.safetensors")) << "what was fetched stays";
}

TEST_F(HubTest, ShardsThroughTheIndex) {
  std::map<std::string, std::string> sharded = files();
  fs::rename(model() / "model.safetensors", model() / "model-00001-of-00001.safetensors");
  sharded["model-00001-of-00001.safetensors"] = sharded.at("model.safetensors");
  sharded.erase("model.safetensors");
  std::string map;
  const SafetensorsFile file(model() / "model-00001-of-00001.safetensors");
  for (const auto& [name, entry] : file.entries()) {
    map += fmt::format("{}\"{}\": \"model-00001-of-00001.safetensors\"", map.empty() ? "" : ", ", name);
  }
  const std::string index = fmt::format("{{\"weight_map\": {{{}}}}}", map);
  write_file(model() / "model.safetensors.index.json", index);
  sharded["model.safetensors.index.json"] = index;
  LocalServer server{Hub(sharded)};
  get_model("some/tiny", out(), at(server));
  expect_whole();
  fs::remove_all(out());
  for (const char* bad : {R"({"weight_map": {"a": "../x.safetensors"}})", R"({"weight_map": {"a": "x.bin"}})",
                          R"({"weight_map": {"a": 1}})"}) {
    sharded["model.safetensors.index.json"] = bad;
    LocalServer bad_server{Hub(sharded)};
    EXPECT_TRUE(contains(refusal(at(bad_server)), "is not the name of a weight file")) << bad;
  }
  sharded["model.safetensors.index.json"] = R"({"weight_map": {}})";
  LocalServer empty{Hub(sharded)};
  EXPECT_TRUE(contains(refusal(at(empty)), "no weight_map"));
  sharded["model.safetensors.index.json"] = R"({"weight_map": {"a": "gone.safetensors"}})";
  LocalServer gone{Hub(sharded)};
  EXPECT_TRUE(contains(refusal(at(gone)), "gone.safetensors: no such file; model.safetensors.index.json names it"));
  sharded.erase("model.safetensors.index.json");
  LocalServer without{Hub(sharded)};
  EXPECT_TRUE(contains(refusal(at(without)), "has no weights in that format"));
}

TEST_F(HubTest, OptionalFilesMayBeMissing) {
  std::map<std::string, std::string> few = files();
  for (const char* name : {"generation_config.json", "tokenizer_config.json", "tokenizer.json"}) {
    few.erase(name);
    fs::remove(model() / name);
  }
  LocalServer server{Hub(few)};
  get_model("some/tiny", out(), at(server));
  expect_whole();
  fs::remove_all(out());
  few["vocab.json"] = "{}";
  LocalServer half{Hub(few)};
  EXPECT_TRUE(contains(refusal(at(half)), "merges.txt: no such file; vocab.json is useless without it"));
}

TEST_F(HubTest, ErrorsSayWhatToDo) {
  Hub hub(files());
  hub.status = "401 Unauthorized";
  LocalServer unauthorized(hub);
  EXPECT_TRUE(contains(refusal(at(unauthorized)), "HTTP status 401; there is no such model, or it wants a token"));
  EXPECT_FALSE(fs::exists(out().string() + ".part")) << "nothing worth keeping";
  LocalServer server{Hub(files())};
  EXPECT_TRUE(contains(refusal(at(server), "some/other"), "config.json: no such file; check the name and --revision"));
  HubOptions nowhere;
  nowhere.address = "http://127.0.0.1:1";
  EXPECT_TRUE(contains(refusal(nowhere), "INK_MIRROR"));
  std::map<std::string, std::string> other = files();
  other["config.json"] = R"({"model_type": "llama"})";
  LocalServer llama{Hub(other)};
  EXPECT_TRUE(contains(refusal(at(llama)), "some/tiny: its model_type is llama, only gpt2 can be used"));
  for (const std::string& request : llama.requests()) EXPECT_FALSE(contains(request, "safetensors"));
}

TEST_F(HubTest, ASlashBehindTheFoldersNameMeansTheSame) {
  HubOptions options;
  options.mirror = (dir_ / "mirror").string();
  get_model("some/tiny", out() / "", options);
  expect_whole();
}

TEST_F(HubTest, MirrorsComeFirstAndMayFail) {
  HubOptions nowhere;
  nowhere.address = "http://127.0.0.1:1";
  nowhere.mirror = mirror();
  EXPECT_EQ(get_model("some/tiny", out(), nowhere).from, (mirror() / "some/tiny/").string());
  expect_whole();
  fs::remove_all(out());
  LocalServer plain([files = files()](const std::string& request) {  // tells sizes and nothing else
    const size_t slash = request.find("/sets/some/tiny/");
    const std::string name =
        slash == std::string::npos ? "" : request.substr(slash + 16, request.find(" HTTP") - slash - 16);
    if (!files.contains(name)) return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    const bool head = request.starts_with("HEAD ");
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", files.at(name).size(),
                       head ? "" : files.at(name));
  });
  nowhere.mirror = plain.url("sets");
  nowhere.token = "secret";
  get_model("some/tiny", out(), nowhere);
  expect_whole();
  for (const std::string& request : plain.requests()) EXPECT_FALSE(contains(request, "secret"));
  fs::remove_all(out());
  LocalServer server{Hub(files())};
  HubOptions options = at(server);
  options.mirror = dir_ / "no such folder";
  get_model("some/tiny", out(), options);
  expect_whole();
  fs::remove_all(out());
  nowhere.mirror = "file://" + mirror().string();
  get_model("some/tiny", out(), nowhere);
  expect_whole();
  fs::remove_all(out());
  nowhere.mirror = dir_ / "no such folder";
  EXPECT_TRUE(contains(refusal(nowhere), "the mirror has no such model; http://127.0.0.1:1/"));
}

}  // namespace
}  // namespace ink
