// data: the loader's order against llm.c's, its position saved and restored, and what it refuses.
#include <gtest/gtest.h>

#include "ink/data/loader.h"
#include "tests/data_fixtures.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

// Shards of the sizes whose batches were recorded: one of 1,001 tokens, and three of 997, 400 and 1,601.
class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    write_formula_shard(dir_ / "a_0.bin", 1001, 1);
    write_formula_shard(dir_ / "b_0.bin", 997, 2);
    write_formula_shard(dir_ / "b_1.bin", 400, 3);
    write_formula_shard(dir_ / "b_2.bin", 1601, 4);
  }

  LoaderOptions options(const std::string& name, int64_t batch = 4, int64_t context = 8) const {
    return {.pattern = (dir_ / name).string(), .batch = batch, .context = context};
  }

  // The next n batches, inputs and targets, one after another.
  static std::vector<int32_t> take(Loader& loader, int n) {
    std::vector<int32_t> all, inputs, targets;
    for (int i = 0; i < n; ++i) {
      loader.next(inputs, targets);
      all.insert(all.end(), inputs.begin(), inputs.end());
      all.insert(all.end(), targets.begin(), targets.end());
    }
    return all;
  }

  TempDir dir_;
};

// Recorded from llm.c f1e2ace (llmc/dataloader.h) over the same shards: the first input of the first six batches, and
// FNV-1a over every input and target of all of them.
TEST_F(LoaderTest, ServesLlmcsBatches) {
  struct Case {
    const char* pattern;
    int64_t batch, context;
    int rank, ranks;
    bool shuffle;
    int batches;
    int64_t tokens;
    std::array<int32_t, 6> first;
    uint64_t hash;
  };
  const std::vector<Case> cases = {
      {"a_*.bin", 4, 8, 0, 1, false, 70, 1001, {0, 670, 36319, 21710, 7101, 7771}, 0x1de7315073186433ull},
      {"a_*.bin", 4, 8, 0, 1, true, 100, 1001, {35097, 21303, 14058, 43012, 20488, 14202}, 0xbac2035eb32e8708ull},
      {"a_*.bin", 3, 7, 0, 1, true, 150, 1001, {36241, 12525, 8304, 4155, 25081, 39031}, 0x76b99df0bd6a76aull},
      {"b_*.bin", 4, 8, 0, 1, false, 200, 2998, {1, 671, 36319, 21710, 7102, 7772}, 0x6dbdded39826b22full},
      {"b_*.bin", 4, 8, 0, 1, true, 400, 2998, {14874, 2, 27998, 672, 35099, 20083}, 0x7acd14cfaa4c1ef3ull},
      {"b_*.bin", 3, 7, 0, 2, true, 300, 2998, {26477, 5486, 12527, 23687, 9737, 1331}, 0x8f143c818afeee93ull},
      {"b_*.bin", 3, 7, 1, 2, true, 300, 2998, {25082, 32028, 15251, 37608, 26448, 2762}, 0x4a87b6c8213a8645ull},
      {"b_*.bin", 5, 13, 2, 3, false, 60, 2998, {22573, 6173, 24752, 8353, 26931, 22573}, 0x7c6f2113fdd4384dull},
      {"b_*.bin", 1, 1, 0, 1, true, 7000, 2998, {864, 9671, 23029, 2319, 9420, 28280}, 0x4fd502af96f3def9ull},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} B={} T={} rank {} of {}, {}", c.pattern, c.batch, c.context, c.rank, c.ranks,
                             c.shuffle ? "shuffled" : "in order"));
    LoaderOptions o = options(c.pattern, c.batch, c.context);
    o.rank = c.rank;
    o.ranks = c.ranks;
    o.order = c.shuffle ? Order::batches : Order::sequential;
    Loader loader(o);
    EXPECT_EQ(loader.tokens(), c.tokens);
    uint64_t hash = 14695981039346656037ull;
    std::vector<int32_t> inputs, targets;
    for (int batch = 0; batch < c.batches; ++batch) {
      loader.next(inputs, targets);
      ASSERT_EQ(static_cast<int64_t>(inputs.size()), c.batch * c.context);
      ASSERT_EQ(targets.size(), inputs.size());
      if (batch < 6) {
        EXPECT_EQ(inputs[0], c.first[batch]) << "batch " << batch;
      }
      for (size_t i = 0; i < inputs.size(); ++i) {
        hash = (hash ^ static_cast<uint32_t>(inputs[i])) * 1099511628211ull;
        hash = (hash ^ static_cast<uint32_t>(targets[i])) * 1099511628211ull;
      }
    }
    EXPECT_EQ(hash, c.hash);
  }
}

TEST_F(LoaderTest, AnEpochServesEveryBatchOnce) {
  Loader loader(options("b_*.bin"));
  EXPECT_EQ(loader.batches(), 31 + 12 + 50);
  std::vector<int32_t> inputs, targets, firsts, expected;
  for (int64_t i = 0; i < loader.batches(); ++i) {
    loader.next(inputs, targets);
    firsts.push_back(inputs[0]);
    EXPECT_EQ(loader.epoch(), 0);
  }
  for (const auto& [samples, salt] : {std::pair{31u, 2u}, {12u, 3u}, {50u, 4u}}) {
    for (uint32_t i = 0; i < samples; ++i) expected.push_back(formula_token(32 * i, salt));
  }
  std::sort(firsts.begin(), firsts.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(firsts, expected);
  loader.next(inputs, targets);
  EXPECT_EQ(loader.epoch(), 1);
}

// Each sequence of an epoch is served once, to one rank; the next epoch cuts others.
TEST_F(LoaderTest, SequencesAreShuffledOnTheirOwn) {
  LoaderOptions o = options("a_*.bin", 3, 8);
  o.order = Order::sequences;
  o.ranks = 2;
  // The shard's tokens tell where they stand: 1,001 tokens are all different.
  std::vector<int32_t> place(65536, -1);
  const Shard shard(dir_ / "a_0.bin");
  for (int32_t i = 0; i < 1001; ++i) place[shard.tokens()[i]] = i;
  std::vector<std::vector<int32_t>> epochs;
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::vector<int32_t> starts;
    for (o.rank = 0; o.rank < 2; ++o.rank) {
      Loader loader(o);
      if (epoch == 1) loader.reset();
      ASSERT_EQ(loader.batches(), (1001 - 8) / 8 / 6);
      std::vector<int32_t> inputs, targets;
      for (int64_t batch = 0; batch < loader.batches(); ++batch) {
        loader.next(inputs, targets);
        for (int row = 0; row < 3; ++row) {
          starts.push_back(place[inputs[row * 8]]);
          for (int t = 0; t < 8; ++t) {
            ASSERT_EQ(place[inputs[row * 8 + t]], starts.back() + t);
            ASSERT_EQ(place[targets[row * 8 + t]], starts.back() + t + 1);
          }
        }
      }
    }
    EXPECT_FALSE(std::is_sorted(starts.begin(), starts.end()));
    std::sort(starts.begin(), starts.end());
    for (size_t i = 1; i < starts.size(); ++i) {
      ASSERT_GT(starts[i], starts[i - 1]);
      ASSERT_EQ((starts[i] - starts[0]) % 8, 0);
    }
    epochs.push_back(starts);
  }
  EXPECT_NE(epochs[0][0] % 8, epochs[1][0] % 8) << "another offset, with this seed";
}

TEST_F(LoaderTest, SequencesOfAShardOfOneBatchHaveNoOffset) {
  write_formula_shard(dir_ / "c_0.bin", 33, 1);
  LoaderOptions o = options("c_*.bin");
  o.order = Order::sequences;
  Loader loader(o);
  EXPECT_EQ(loader.batches(), 1);
  take(loader, 5);
  LoaderState state = loader.state();
  EXPECT_EQ(state.offset, 0);
  EXPECT_EQ(loader.epoch(), 4);
  state.offset = 1;  // would reach past the shard's end
  EXPECT_TRUE(contains(message_of([&] { loader.restore(state); }), "offset 1 is not below 1"));
}

TEST_F(LoaderTest, ResetStartsAnEpochAndShufflesOn) {
  LoaderOptions o = options("b_*.bin");
  Loader shuffled(o);
  const std::vector<int32_t> first = take(shuffled, 5);
  shuffled.reset();
  EXPECT_EQ(shuffled.epoch(), 1);
  EXPECT_NE(take(shuffled, 5), first);
  o.order = Order::sequential;
  Loader plain(o);
  const std::vector<int32_t> start = take(plain, 5);
  plain.reset();
  EXPECT_EQ(take(plain, 5), start);
}

TEST_F(LoaderTest, ARestoredPositionGoesOnAlike) {
  for (const Order order : {Order::batches, Order::sequences, Order::sequential}) {
    LoaderOptions o = options("b_*.bin");
    o.order = order;
    // 12, 31, 43, 50, 62, 81 and 93 batches end at a shard's end in one order or another, 93 at the epoch's.
    for (const int served : {0, 1, 11, 12, 13, 31, 32, 43, 50, 51, 62, 81, 92, 93, 94, 186, 200}) {
      Loader original(o), copy(o);
      take(original, served);
      take(copy, 17);
      copy.restore(original.state());
      EXPECT_EQ(copy.epoch(), original.epoch());
      ASSERT_EQ(take(copy, 150), take(original, 150)) << served << " served, order " << int(order);
    }
  }
}

TEST_F(LoaderTest, RefusesAPositionThatDoesNotFit) {
  Loader loader(options("b_*.bin"));
  take(loader, 20);
  const LoaderState good = loader.state();
  const auto refused = [&](const auto& change) {
    LoaderState state = good;
    change(state);
    return message_of([&] { loader.restore(state); });
  };
  EXPECT_TRUE(
      contains(refused([](LoaderState& s) { ++s.tokens; }), "2998 tokens, but the saved position is in data of 2999"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.sample_tokens = 64; }), "counts samples of 64 tokens"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.order = Order::sequences; }),
                       "in sequences order, this run's is batches"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.shard_order.pop_back(); }), "order of 2 shards"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.shard_order[0] = s.shard_order[1]; }), "order of 3 shards"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.shard_order[0] = -1; }), "order of 3 shards"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.shard = 3; }), "shard 3 in epoch 0, does not exist"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.shard = -1; }), "shard -1 in epoch 0, does not exist"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.epoch = -1; }), "in epoch -1, does not exist"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.sample = 51; }), "sample 51, is outside its shard"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.sample = -1; }), "sample -1, is outside its shard"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.sample_order.push_back(0); }), "samples does not fit"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.sample_order[0] = s.sample_order[1]; }), "samples does not fit"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.rng = "1 2 3"; }), "mt19937"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.offset = 1; }), "offset 1 is not below 1"));
  EXPECT_TRUE(contains(refused([](LoaderState& s) { s.offset = -1; }), "offset -1 is not below 1"));
  Loader fresh(options("b_*.bin"));
  fresh.restore(good);
  EXPECT_EQ(take(loader, 100), take(fresh, 100)) << "a refused position changes nothing";

  LoaderOptions o = options("b_*.bin");
  o.order = Order::sequential;
  Loader plain(o);
  EXPECT_TRUE(contains(message_of([&] { plain.restore(good); }),
                       "saved position is in batches order, this run's is sequential"));
  LoaderState ordered = plain.state();
  ordered.shard_order = {7};  // would be an index of the shards
  EXPECT_TRUE(contains(message_of([&] { plain.restore(ordered); }), "order of 1 shards"));
  Loader other(options("a_*.bin"));
  EXPECT_TRUE(contains(message_of([&] { other.restore(good); }), "resume with the same data"));
}

TEST_F(LoaderTest, TellsDataOfEqualSizeApart) {
  const std::string pattern = (dir_ / "b_*.bin").string();
  const LoaderState saved = Loader(options("b_*.bin")).state();
  EXPECT_EQ(saved.data.size(), 64u);
  EXPECT_NO_THROW(Loader(options("b_*.bin")).restore(saved));
  const std::string refusal = pattern + ": these are other shards than the saved position's; resume with the same data";
  write_formula_shard(dir_ / "b_1.bin", 400, 5);  // other tokens
  EXPECT_EQ(message_of([&] { Loader(options("b_*.bin")).restore(saved); }), refusal);
  write_formula_shard(dir_ / "b_1.bin", 400, 3);
  EXPECT_NO_THROW(Loader(options("b_*.bin")).restore(saved));
  fs::rename(dir_ / "b_0.bin", dir_ / "b_3.bin");  // the same shards in another order
  EXPECT_EQ(message_of([&] { Loader(options("b_*.bin")).restore(saved); }), refusal);
}

TEST_F(LoaderTest, FindsShardsByPathAndGlob) {
  EXPECT_EQ(Loader(options("a_0.bin")).tokens(), 1001);
  EXPECT_EQ(Loader(options("b_[02].bin")).tokens(), 997 + 1601);
  EXPECT_EQ(Loader(options("?_0.bin")).tokens(), 1001 + 997);
  write_formula_shard(dir_ / "[odd].bin", 100, 1);  // a path that is there is that file, whatever its characters
  EXPECT_EQ(Loader(options("[odd].bin")).tokens(), 100);
}

TEST_F(LoaderTest, RefusesWhatItCannotServe) {
  EXPECT_TRUE(contains(message_of([&] { Loader(options("c_*.bin")); }), "c_*.bin: no such file, nor files that match"));
  EXPECT_TRUE(contains(message_of([&] { Loader(options("")); }), "is a folder, expected shards; name them"));
  EXPECT_TRUE(contains(message_of([&] { Loader(options("b_*.bin", 4, 100)); }),
                       "b_1.bin: shard holds 400 tokens, a batch needs 401; use a smaller --batch or --seq-len"));
  EXPECT_NO_THROW(Loader(options("b_*.bin", 3, 133))) << "399 + 1 tokens are just enough";
  LoaderOptions two = options("b_*.bin", 3, 133);
  two.ranks = 2;
  EXPECT_TRUE(contains(message_of([&] { Loader{two}; }), "a batch needs 799"));
  for (const LoaderOptions& o : {options("b_*.bin", 0, 8), options("b_*.bin", 4, 0), options("b_*.bin", -1, 8)}) {
    EXPECT_TRUE(contains(message_of([&] { Loader{o}; }), "must be at least 1"));
  }
  EXPECT_TRUE(contains(message_of([&] { Loader(options("b_*.bin", int64_t{1} << 40, int64_t{1} << 40)); }),
                       "more than a shard can hold"));
  LoaderOptions rank = options("b_*.bin");
  rank.rank = 1;
  EXPECT_TRUE(contains(message_of([&] { Loader{rank}; }), "rank 1 of 1 ranks does not exist"));

  LoaderOptions vocab = options("b_*.bin");
  vocab.vocab = 50257;
  EXPECT_NO_THROW(Loader{vocab});
  vocab.vocab = 50000;
  uint32_t bad = 0;
  while (formula_token(bad, 2) < 50000) ++bad;
  EXPECT_TRUE(contains(message_of([&] { Loader{vocab}; }),
                       fmt::format("b_0.bin: token {} at position {}", formula_token(bad, 2), bad)));

  write_file(dir_ / "b_3.bin", shard_bytes(kShardMagic, 1, 6, 5));
  EXPECT_TRUE(contains(message_of([&] { Loader(options("b_*.bin")); }), "b_3.bin: truncated"));
}

}  // namespace
}  // namespace ink
