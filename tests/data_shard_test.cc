// data: shards, whole and malformed, and what `ink data info` says of them.
#include <gtest/gtest.h>

#include "ink/data/info.h"
#include "ink/data/shard.h"
#include "tests/data_fixtures.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

TEST(Shard, IsLlmcsFormatByteForByte) {
  const TempDir dir;
  ShardWriter writer(dir / "a.bin");
  writer.write(std::vector<int32_t>{0, 258});
  writer.write(std::vector<int32_t>{65535});
  EXPECT_EQ(writer.tokens(), 3);
  writer.commit();
  const std::string bytes = read_file(dir / "a.bin");
  ASSERT_EQ(bytes.size(), 1024u + 6u);
  EXPECT_EQ(bytes.substr(0, 12), std::string("\x88\xd8\x34\x01\x01\0\0\0\x03\0\0\0", 12));
  EXPECT_EQ(bytes.substr(12, 1012), std::string(1012, '\0'));
  EXPECT_EQ(bytes.substr(1024), std::string("\0\0\x02\x01\xff\xff", 6));
  EXPECT_EQ(shard_ids(dir / "a.bin"), (std::vector<int32_t>{0, 258, 65535}));
}

TEST(Shard, LongWritesKeepEveryToken) {
  const TempDir dir;
  write_formula_shard(dir / "a.bin", 200'003, 9);
  const Shard shard(dir / "a.bin");
  ASSERT_EQ(shard.tokens().size(), 200'003u);
  for (uint32_t i = 0; i < 200'003; ++i) ASSERT_EQ(shard.tokens()[i], formula_token(i, 9)) << i;
}

TEST(Shard, WithoutCommitNothingIsWritten) {
  const TempDir dir;
  {
    ShardWriter writer(dir / "a.bin");
    writer.write(std::vector<int32_t>{1});
  }
  {
    ShardWriter writer(dir / "b.bin");
    EXPECT_TRUE(contains(message_of([&] { writer.commit(); }), "b.bin: no tokens to write"));
  }
  for (const int32_t bad : {-1, 65536}) {
    ShardWriter writer(dir / "c.bin");
    EXPECT_TRUE(contains(message_of([&] {
                           writer.write(std::vector<int32_t>{1, bad});
                         }),
                         fmt::format("c.bin: token {} does not fit", bad)));
  }
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(Shard, EveryMalformedFileIsNamedWithItsFault) {
  struct Case {
    std::string what, bytes, message;
  };
  const std::string good = shard_bytes(kShardMagic, 1, 5, 5);
  std::string flipped = good;
  flipped[10] = static_cast<char>(flipped[10] ^ 0x40);  // bit 22 of the count
  std::string negative = good;
  negative[11] = static_cast<char>(0x80);
  const std::vector<Case> cases = {
      {"empty", "", "empty file, expected a token shard"},
      {"three bytes", good.substr(0, 3), "truncated: 3 bytes, a shard's header alone takes 1024"},
      {"half a header", good.substr(0, 512), "truncated: 512 bytes, a shard's header alone takes 1024"},
      {"text", "First Citizen: speak", "not a token shard (magic 1936877894, expected 20240520); text becomes shards"},
      {"llama-3", shard_bytes(20240801, 7, 5, 10), "llama-3 format with uint32 tokens is not supported"},
      {"evaluation", shard_bytes(20240522, 1, 5, 5), "multiple-choice evaluation file"},
      {"model", shard_bytes(20240326, 3, 5, 5), "llm.c model file"},
      {"version", shard_bytes(kShardMagic, 2, 5, 5), "shard version 2, only version 1 is known"},
      {"no tokens", shard_bytes(kShardMagic, 1, 0, 0), "the header says 0 tokens, expected at least 1"},
      {"negative", negative, "the header says -2147483643 tokens, expected at least 1"},
      {"one token short", shard_bytes(kShardMagic, 1, 6, 5), "truncated: 1034 bytes, the header's 6 tokens need 1036"},
      {"one byte short", good.substr(0, good.size() - 1), "truncated: 1033 bytes, the header's 5 tokens need 1034"},
      {"one byte over", good + "x", "too long: 1035 bytes, the header's 5 tokens need 1034"},
      {"one token over", shard_bytes(kShardMagic, 1, 4, 5), "too long: 1034 bytes, the header's 4 tokens need 1032"},
      {"bit flip", flipped, "truncated: 1034 bytes, the header's 4194309 tokens need 8389642"},
      {"largest count", shard_bytes(kShardMagic, 1, 2147483647, 5), "the header's 2147483647 tokens need 4294968318"},
  };
  const TempDir dir;
  for (const Case& c : cases) {
    write_file(dir / "bad.bin", c.bytes);
    const std::string message = message_of([&] { Shard(dir / "bad.bin"); });
    EXPECT_TRUE(contains(message, c.message)) << c.what << ": " << message;
    EXPECT_TRUE(message.starts_with((dir / "bad.bin").string() + ": ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    if (c.what == "evaluation") continue;  // describe_data() knows those
    EXPECT_EQ(message_of([&] { describe_data(dir / "bad.bin"); }), message) << c.what;
  }
  EXPECT_TRUE(contains(message_of([&] { Shard(dir.path()); }), "is a folder, expected a file"));
  EXPECT_TRUE(contains(message_of([&] { Shard(dir / "none.bin"); }), "none.bin: cannot open: No such file"));
}

TEST(Shard, VocabularyCheckNamesTheFirstBadToken) {
  const TempDir dir;
  ShardWriter writer(dir / "a.bin");
  std::vector<int32_t> ids(1000, 7);
  ids[640] = 300;
  ids[900] = 65535;
  writer.write(std::span<const int32_t>(ids));
  writer.commit();
  const Shard shard(dir / "a.bin");
  EXPECT_EQ(largest_token(shard.tokens()), 65535);
  EXPECT_NO_THROW(check_vocab(shard, 65536));
  EXPECT_TRUE(contains(message_of([&] { check_vocab(shard, 300); }),
                       "a.bin: token 300 at position 640 is not below the vocabulary of 300"));
  EXPECT_TRUE(contains(message_of([&] { check_vocab(shard, 301); }), "token 65535 at position 900"));
}

TEST(DescribeData, TellsShardsAndText) {
  const TempDir dir;
  write_formula_shard(dir / "a.bin", 20, 0);
  const std::string shard = describe_data(dir / "a.bin");
  EXPECT_TRUE(contains(shard, "a.bin: token shard")) << shard;
  EXPECT_TRUE(contains(shard, "tokens  20\n")) << shard;
  EXPECT_TRUE(contains(shard, "bytes   1064\n")) << shard;
  EXPECT_TRUE(contains(shard, "first   0 40503 ")) << shard;
  write_file(dir / "a.txt", "one\ntwo\nthree");
  EXPECT_TRUE(contains(describe_data(dir / "a.txt"), "a.txt: text\n  bytes   13\n  lines   3\n"));
  write_file(dir / "b.txt", "one\n");
  EXPECT_TRUE(contains(describe_data(dir / "b.txt"), "lines   1\n"));
  write_file(dir / "c", std::string("a\0b", 3));
  EXPECT_TRUE(contains(message_of([&] { describe_data(dir / "c"); }), "c: neither a token shard nor text"));
  EXPECT_TRUE(contains(message_of([&] { describe_data(dir.path()); }), "is a folder"));
}

}  // namespace
}  // namespace ink
