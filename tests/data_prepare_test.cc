// data: finding text, preparing shards from it, and llm.c's recipe.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <limits>

#include "ink/base/sha256.h"
#include "ink/data/prepare.h"
#include "ink/data/registry.h"
#include "ink/data/text_window.h"
#include "tests/data_fixtures.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

std::vector<int32_t> ids_of(std::string_view text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

// All ids of some shards, one after another.
std::vector<int32_t> ids_in(const std::vector<fs::path>& shards) {
  std::vector<int32_t> all;
  for (const fs::path& shard : shards) {
    const std::vector<int32_t> ids = shard_ids(shard);
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() : words_(std::make_shared<WordTokenizer>()) {}

  void write(const std::string& name, std::string_view text) const {
    make_directories((dir_ / name).parent_path());
    write_file(dir_ / name, text);
  }

  PrepareOptions options(const std::vector<std::string>& names) const {
    PrepareOptions o;
    for (const std::string& name : names) o.paths.push_back(dir_ / name);
    o.out = dir_ / "out";
    o.tokenizer = words_;
    return o;
  }

  TempDir dir_;
  std::shared_ptr<WordTokenizer> words_;
  ThreadPool pool_{2};
};

TEST_F(PrepareTest, FindsTextInSortedOrder) {
  write("t/b.txt", "b");
  write("t/a/z.md", "z");
  write("t/a.txt", "a");
  write("t/.hidden", "h");
  write("t/.git/config", "g");
  write("t/binary", std::string("a\0b", 3));
  write("t/empty", "");
  write("t/out/old.txt", "o");
  fs::create_symlink(dir_ / "nowhere", dir_ / "t/dangling");
  const auto path = [&](const char* name) { return dir_ / "t" / name; };
  EXPECT_EQ(text_files({dir_ / "t"}),
            (std::vector<fs::path>{path("a/z.md"), path("a.txt"), path("b.txt"), path("out/old.txt")}));
  EXPECT_EQ(text_files({dir_ / "t"}, dir_ / "t/a/../out"),
            (std::vector<fs::path>{path("a/z.md"), path("a.txt"), path("b.txt")}));
  EXPECT_EQ(text_files({path("b.txt"), path("binary"), path(".hidden"), path("a")}),
            (std::vector<fs::path>{path("b.txt"), path("binary"), path(".hidden"), path("a/z.md")}))
      << "files that are named are taken as they are";
}

TEST_F(PrepareTest, RefusesPathsWithoutText) {
  write("empty", "");
  make_directories(dir_ / "folder/sub");
  write("folder/sub/binary", std::string(1, '\0'));
  EXPECT_TRUE(contains(message_of([&] { text_files({}); }), "no text"));
  EXPECT_TRUE(contains(message_of([&] { text_files({dir_ / "none"}); }), "none: no such file or folder"));
  EXPECT_TRUE(contains(message_of([&] { text_files({dir_ / "empty"}); }), "empty: empty file, expected text"));
  EXPECT_TRUE(contains(message_of([&] { text_files({dir_ / "folder"}); }), "folder: no text files in this folder"));
  EXPECT_TRUE(contains(message_of([&] { text_files({"/dev/null"}); }), "/dev/null: not a regular file"));
  EXPECT_TRUE(contains(message_of([&] { text_files({dir_.path()}, dir_.path()); }), "is also the output folder"));
  EXPECT_TRUE(contains(message_of([&] { prepare(options({"none"}), pool_); }), "no such file"));
  EXPECT_FALSE(fs::exists(dir_ / "out"));
}

TEST_F(PrepareTest, EndOfTextBeforeEveryFileAndTheEndForValidation) {
  write("a", "one two three four");  // 18 bytes
  write("b", "five six");            // 8 bytes: 26 in all, int(26 * 0.4) = 10 for training, cut at the blank before
  PrepareOptions o = options({"a", "b"});
  o.val_fraction = 0.6;
  std::vector<std::pair<int64_t, int64_t>> seen;
  o.progress = [&](int64_t done, int64_t total) { seen.emplace_back(done, total); };
  const PrepareResult result = prepare(o, pool_);
  std::vector<int32_t> train = {256}, val = ids_of(" three four");
  for (const int32_t id : ids_of("one two")) train.push_back(id);
  val.push_back(256);
  for (const int32_t id : ids_of("five six")) val.push_back(id);
  EXPECT_EQ(ids_in(result.train_shards), train);
  EXPECT_EQ(ids_in(result.val_shards), val);
  EXPECT_EQ(result.train_tokens, static_cast<int64_t>(train.size()));
  EXPECT_EQ(result.val_tokens, static_cast<int64_t>(val.size()));
  EXPECT_EQ(result.train_shards, std::vector<fs::path>{dir_ / "out/train_000000.bin"});
  EXPECT_EQ(result.val_shards, std::vector<fs::path>{dir_ / "out/val_000000.bin"});
  EXPECT_EQ(seen.back(), (std::pair<int64_t, int64_t>{26, 26}));

  o.documents = false;
  const PrepareResult plain = prepare(o, pool_);
  EXPECT_EQ(ids_in(plain.train_shards), ids_of("one two"));
  EXPECT_EQ(ids_in(plain.val_shards), ids_of(" three fourfive six"));
}

TEST_F(PrepareTest, ASplitBetweenFilesLeavesBothWhole) {
  write("a", "12345678");
  write("b", "abcdefgh");
  PrepareOptions o = options({"a", "b"});
  o.val_fraction = 0.5;
  const PrepareResult result = prepare(o, pool_);
  EXPECT_EQ(result.train_tokens, 9);
  EXPECT_EQ(ids_in(result.val_shards)[0], 256) << "the second file starts the validation split";
}

TEST_F(PrepareTest, WithoutValidationThereIsNoValShard) {
  write("a", "some text");
  PrepareOptions o = options({"a"});
  o.val_fraction = 0;
  const PrepareResult result = prepare(o, pool_);
  EXPECT_EQ(result.val_tokens, 0);
  EXPECT_TRUE(result.val_shards.empty());
  EXPECT_EQ(names_in(dir_ / "out"), std::vector<std::string>{"train_000000.bin"});
}

TEST_F(PrepareTest, ShardsAreFullButTheLastTwo) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i % 26);
  write("a", text);
  PrepareOptions o = options({"a"});
  o.documents = false;
  o.val_fraction = 0;
  o.prefix = "my_";
  const auto sizes = [&](int64_t shard_tokens) {
    o.shard_tokens = shard_tokens;
    const PrepareResult result = prepare(o, pool_);
    EXPECT_EQ(ids_in(result.train_shards), ids_of(text)) << shard_tokens;
    std::vector<size_t> counts;
    for (const fs::path& shard : result.train_shards) counts.push_back(shard_ids(shard).size());
    EXPECT_EQ(names_in(dir_ / "out").size(), counts.size()) << "shards of the earlier run are gone";
    EXPECT_TRUE(fs::exists(dir_ / "out/my_train_000000.bin"));
    return counts;
  };
  EXPECT_EQ(sizes(300), (std::vector<size_t>{300, 300, 200, 200}));  // 100 left would be few: they share
  EXPECT_EQ(sizes(400), (std::vector<size_t>{400, 400, 200}));
  EXPECT_EQ(sizes(999), (std::vector<size_t>{500, 500}));
  EXPECT_EQ(sizes(500), (std::vector<size_t>{500, 500}));
  EXPECT_EQ(sizes(1000), (std::vector<size_t>{1000}));
  EXPECT_EQ(sizes(2000), (std::vector<size_t>{1000}));
}

TEST_F(PrepareTest, ReplacesOnlyItsOwnShards) {
  write("a", "some text to split in two");
  write("out/train_000007.bin", "stale");
  write("out/val_000000.bin", "stale");
  write("out/train_0.bin", "not of a series");
  write("out/other_train_000000.bin", "another prefix");
  write("out/merges.txt", "another tokenizer");
  PrepareOptions o = options({"a"});
  o.val_fraction = 0;
  prepare(o, pool_);
  EXPECT_EQ(names_in(dir_ / "out"),
            (std::vector<std::string>{"merges.txt", "other_train_000000.bin", "train_0.bin", "train_000000.bin"}));
  o.save_tokenizer = true;
  prepare(o, pool_);
  EXPECT_EQ(names_in(dir_ / "out"),
            (std::vector<std::string>{"other_train_000000.bin", "tokenizer.json", "train_0.bin", "train_000000.bin"}));
}

TEST_F(PrepareTest, AnErrorLeavesEverythingAsItWas) {
  write("good", "some text to split in two");
  write("bad", "fine words, then a TRAP and more");
  words_->refused = "TRAP";
  EXPECT_TRUE(contains(message_of([&] { prepare(options({"good", "bad"}), pool_); }), "no id for TRAP"));
  EXPECT_FALSE(fs::exists(dir_ / "out")) << "a folder that this call made";
  prepare(options({"good"}), pool_);
  const std::string before = read_file(dir_ / "out/train_000000.bin");
  const std::vector<std::string> names = names_in(dir_ / "out");
  EXPECT_TRUE(contains(message_of([&] { prepare(options({"good", "bad"}), pool_); }), "no id for TRAP"));
  EXPECT_EQ(names_in(dir_ / "out"), names);
  EXPECT_EQ(read_file(dir_ / "out/train_000000.bin"), before);

  fs::remove(dir_ / "out/val_000000.bin");
  make_directories(dir_ / "out/val_000000.bin");  // cannot be replaced by a file
  EXPECT_TRUE(contains(message_of([&] { prepare(options({"good"}), pool_); }), "val_000000.bin: is a folder"));
  EXPECT_EQ(read_file(dir_ / "out/train_000000.bin"), before);
  EXPECT_EQ(names_in(dir_ / "out"), names);
}

TEST_F(PrepareTest, AFailedWriteLeavesEverythingAsItWas) {
  write("a", std::string(100'000, 'x'));
  // As a disk that is full after 64 KiB of a file.
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit small = old;
  small.rlim_cur = 65536;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = message_of([&] { prepare(options({"a"}), pool_); });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(contains(message, "cannot write: File too large")) << message;
  EXPECT_FALSE(fs::exists(dir_ / "out"));
}

TEST_F(PrepareTest, RefusesAnOutputFolderItCannotWrite) {
  write("a", "text");
  write("file", "not a folder");
  PrepareOptions o = options({"a"});
  o.out = dir_ / "file";
  EXPECT_TRUE(contains(message_of([&] { prepare(o, pool_); }), "cannot create the folder"));
  EXPECT_EQ(read_file(dir_ / "file"), "not a folder");
  o.out = dir_ / "file/below";
  EXPECT_TRUE(contains(message_of([&] { prepare(o, pool_); }), "cannot create the folder"));
  if (geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  make_directories(dir_ / "locked");
  fs::permissions(dir_ / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  o.out = dir_ / "locked";
  EXPECT_TRUE(contains(message_of([&] { prepare(o, pool_); }), "Permission denied"));
}

TEST_F(PrepareTest, RefusesOptionsThatCannotWork) {
  write("a", "word");
  const auto refused = [&](const auto& change) {
    PrepareOptions o = options({"a"});
    change(o);
    const std::string message = message_of([&] { prepare(o, pool_); });
    EXPECT_FALSE(fs::exists(dir_ / "out"));
    return message;
  };
  for (const double fraction : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_TRUE(contains(refused([&](PrepareOptions& o) { o.val_fraction = fraction; }), "is not in [0, 1)"));
  }
  for (const int64_t tokens : {int64_t{0}, int64_t{-1}, int64_t{1} << 31}) {
    EXPECT_TRUE(
        contains(refused([&](PrepareOptions& o) { o.shard_tokens = tokens; }), "tokens in a shard: expected 1 to"));
  }
  EXPECT_TRUE(contains(refused([](PrepareOptions& o) { o.prefix = "a/b"; }), "cannot hold a /"));
  const auto large = std::make_shared<WordTokenizer>();
  large->vocab = 65537;
  EXPECT_TRUE(contains(refused([&](PrepareOptions& o) { o.tokenizer = large; }), "vocabulary of 65537 does not fit"));
  large->vocab = 65536;
  PrepareOptions fits = options({"a"});
  fits.tokenizer = large;
  EXPECT_NO_THROW(prepare(fits, pool_));
}

TEST_F(PrepareTest, RefusesTextTooShortToSplit) {
  write("a", "x");
  PrepareOptions o = options({"a"});
  o.documents = false;
  EXPECT_TRUE(
      contains(message_of([&] { prepare(o, pool_); }), "too short to split: 0 tokens for training, 1 for validation"));
  EXPECT_FALSE(fs::exists(dir_ / "out"));
}

TEST_F(PrepareTest, LargeTextGoesThroughAWindow) {
  write("large", "x");
  fs::resize_file(dir_ / "large", 20 * kPrepareWindow + 12345);  // sparse
  words_->sparse = true;
  PrepareOptions o = options({"large"});
  int64_t last = 0;
  o.progress = [&](int64_t done, int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_LE(done - last, static_cast<int64_t>(kPrepareWindow));
    EXPECT_EQ(total, static_cast<int64_t>(20 * kPrepareWindow + 12345));
    last = done;
  };
  const PrepareResult result = prepare(o, pool_);
  EXPECT_LE(words_->longest.load(), kPrepareWindow) << "no piece is longer than the window";
  EXPECT_EQ(result.train_tokens + result.val_tokens, 1 + 21) << "end of text and 21 pieces";
}

TEST_F(PrepareTest, WindowsAreCutAtSafePlaces) {
  // Words of 1,001 bytes: no window's end is a word's.
  std::string text;
  const std::string word = " " + std::string(1000, 'w');
  while (text.size() < kPrepareWindow + kPrepareWindow / 4) text += word;
  write("a", text);
  PrepareOptions o = options({"a"});
  o.documents = false;
  int64_t total = 0;
  o.progress = [&](int64_t done, int64_t all) {
    total = all;
    EXPECT_EQ(done % static_cast<int64_t>(word.size()), 0) << "every piece ends before a word";
  };
  const PrepareResult all = prepare(o, pool_);
  std::vector<int32_t> ids = ids_in(all.train_shards);
  EXPECT_EQ(ids.size() % word.size(), 0u) << "the split is before a word";
  EXPECT_LE(ids.size(), text.size() * 9 / 10);
  EXPECT_GT(ids.size() + word.size(), text.size() * 9 / 10);
  const std::vector<int32_t> val = ids_in(all.val_shards);
  ids.insert(ids.end(), val.begin(), val.end());
  EXPECT_TRUE(ids == ids_of(text));
  EXPECT_EQ(total, static_cast<int64_t>(text.size()));
}

TEST(CharacterCut, NeverSplitsACharacter) {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";  // 1, 2, 3, 4 and 1 bytes
  const std::vector<size_t> expected = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (size_t limit = 1; limit < text.size(); ++limit) EXPECT_EQ(character_cut(text, limit), expected[limit]) << limit;
  EXPECT_EQ(character_cut(text, 99), text.size());
  EXPECT_EQ(character_cut(std::string(10, '\x80'), 7), 7u) << "what is not UTF-8 is cut anywhere";
}

TEST_F(PrepareTest, CharSplitsAsNanoGptDoes) {
  std::string text;
  for (int i = 0; i < 12347; ++i) text += static_cast<char>('A' + (i * i) % 26);
  write("a", text);
  PrepareOptions o = options({"a"});
  o.tokenizer = make_char_tokenizer(text);
  const PrepareResult result = prepare(o, pool_);
  EXPECT_EQ(result.train_tokens, static_cast<int64_t>(12347 * 0.9));
  EXPECT_EQ(result.train_tokens + result.val_tokens, 12347);
}

TEST_F(PrepareTest, Gpt2InWindowsGivesTheIdsOfTheWhole) {
  std::string text;
  for (int i = 0; text.size() < kPrepareWindow + 300'000; ++i) {
    text += fmt::format("{} bottles   of don't-know \n\n\t caf\xc3\xa9 {}", i, i * 7919 % 1000003);
  }
  write("a", text);
  PrepareOptions o = options({"a"});
  o.tokenizer = make_gpt2_tokenizer();
  o.documents = false;
  const PrepareResult result = prepare(o, pool_);
  std::vector<int32_t> ids = ids_in(result.train_shards), whole;
  const std::vector<int32_t> val = ids_in(result.val_shards);
  ids.insert(ids.end(), val.begin(), val.end());
  o.tokenizer->encode_parallel(text, pool_, whole);
  EXPECT_TRUE(ids == whole);
}

TEST_F(PrepareTest, TokenizersByNameOrFolder) {
  write("a", "b\xc3\xa9 a");
  write("b", std::string("\xe2\x82\xac\xc3z\x80\xff", 7));  // stray bytes count as characters
  const std::vector<fs::path> files = {dir_ / "a", dir_ / "b"};
  const auto characters = tokenizer_for("char", files);
  const auto reference = make_char_tokenizer(read_file(dir_ / "a") + read_file(dir_ / "b"));
  ASSERT_EQ(characters->vocab_size(), reference->vocab_size());
  for (int32_t id = 0; id < characters->vocab_size(); ++id) EXPECT_EQ(characters->token(id), reference->token(id));
  EXPECT_EQ(tokenizer_for("byte", files)->name(), "byte");
  EXPECT_EQ(tokenizer_for("gpt2", files)->vocab_size(), 50257);
  make_directories(dir_ / "saved");
  characters->save(dir_ / "saved");
  EXPECT_EQ(tokenizer_for((dir_ / "saved").string(), files)->vocab_size(), characters->vocab_size());
  EXPECT_THROW(tokenizer_for("gtp2", files), UsageError);
}

// The text of the data set, where it is at hand: named by INK_MIRROR, or beside the sources.
fs::path tinyshakespeare() {
  const char* mirror = std::getenv("INK_MIRROR");
  for (const fs::path& folder :
       {fs::path(mirror == nullptr ? "" : mirror), fs::path(INK_SOURCE_DIR) / "../shared/data"}) {
    std::error_code ignored;
    if (fs::exists(folder / "tinyshakespeare.txt", ignored)) return folder / "tinyshakespeare.txt";
  }
  return {};
}

// The files' SHA-256 were taken from dev/data/tinyshakespeare.py's steps run with tiktoken 0.14.
TEST_F(PrepareTest, LlmcsTinyshakespeareByteForByte) {
  const fs::path text = tinyshakespeare();
  if (text.empty()) GTEST_SKIP() << "tinyshakespeare.txt is not here; INK_MIRROR may name its folder";
  const PrepareResult result = prepare_recipe(find_dataset("tinyshakespeare"), "llmc", text, dir_ / "out");
  EXPECT_EQ(result.train_tokens, 305'260);
  EXPECT_EQ(result.val_tokens, 32'768);
  EXPECT_EQ(sha256_file(dir_ / "out/tiny_shakespeare_train.bin"),
            "8a70606be574040c26d225694f5f9759973b419852d22f7fe5c118e1b359dcc8");
  EXPECT_EQ(sha256_file(dir_ / "out/tiny_shakespeare_val.bin"),
            "fe99db720dc7c83e694806d4e047a952909411da1daccde4ccc2e55f40882a62");
  EXPECT_EQ(names_in(dir_ / "out").size(), 2u);
}

TEST_F(PrepareTest, NanoGptsSplitOfTinyshakespeare) {
  const fs::path text = tinyshakespeare();
  if (text.empty()) GTEST_SKIP() << "tinyshakespeare.txt is not here; INK_MIRROR may name its folder";
  PrepareOptions o = options({});
  o.paths = {text};
  o.tokenizer = tokenizer_for("char", o.paths);
  EXPECT_EQ(o.tokenizer->vocab_size(), 65);
  const PrepareResult result = prepare(o, pool_);
  EXPECT_EQ(result.train_tokens, 1'003'854);
  EXPECT_EQ(result.val_tokens, 111'540);
}

TEST_F(PrepareTest, LlmcsRecipeReadsEveryLineEndAndNeedsEnoughText) {
  std::string lines, other_ends;
  for (int i = 0; i < 9000; ++i) {
    const std::string words = fmt::format("to be or not {}", i);
    lines += words + (i % 3 == 0 ? "\n\n" : "\n");
    other_ends += words + (i % 3 == 0 ? "\r\n\r" : i % 3 == 1 ? "\r\n" : "\r");
  }
  prepare_llmc_tinyshakespeare(lines, dir_ / "a");
  prepare_llmc_tinyshakespeare(other_ends, dir_ / "b");
  for (const char* name : {"tiny_shakespeare_train.bin", "tiny_shakespeare_val.bin"}) {
    EXPECT_EQ(sha256_file(dir_ / "a" / name), sha256_file(dir_ / "b" / name)) << name;
  }
  EXPECT_TRUE(contains(message_of([&] { prepare_llmc_tinyshakespeare("short\n\ntext", dir_ / "c"); }),
                       "llm.c's recipe puts the first 32768 aside"));
  EXPECT_FALSE(fs::exists(dir_ / "c"));
}

}  // namespace
}  // namespace ink
