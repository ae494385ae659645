// The key-value cache under random turns: sequences are added, forked, cut, extended and removed, in a cache that is
// too small for them, and every forward pass must give the bits of its whole text computed anew. And: decoding
// allocates nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/infer/weights.h"
#include "ink/model/gpt2_inference.h"
#include "tests/count_allocations.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

// More than two pages of positions, heads of 32 channels, rows that are whole blocks.
constexpr Gpt2Config kSmall = {.context = 90, .vocab = 61, .layers = 2, .heads = 2, .channels = 64};

// Adds, forks, cuts and removes sequences and extends batches of them at random, in a cache that is too small for all.
class RandomTurns {
 public:
  // `whole` computes every text anew, in one piece.
  RandomTurns(Gpt2Inference& model, Gpt2Inference& whole, uint32_t seed) : model_(model), whole_(whole), rng_(seed) {}

  void run(int turns) {
    for (int i = 0; i < turns; ++i) {
      const testing::ScopedTrace trace(__FILE__, __LINE__, "turn " + std::to_string(i));
      const int64_t choice = below(12);
      if (texts_.empty() || choice == 0) {
        attempt([&] { texts_[cache().add()] = {}; });
      } else if (choice <= 2) {
        fork();
      } else if (choice == 3) {
        truncate();
      } else if (choice == 4) {
        const int32_t sequence = any();
        cache().remove(sequence);
        texts_.erase(sequence);
      } else {
        forward();
      }
      for (const auto& [sequence, text] : texts_) {
        ASSERT_EQ(cache().length(sequence), static_cast<int64_t>(text.size()));
      }
      if (testing::Test::HasFatalFailure()) return;
    }
    for (const auto& [sequence, text] : texts_) cache().remove(sequence);
    EXPECT_EQ(cache().free_pages(), cache().pages());
  }

  int done() const { return done_; }
  int refused() const { return refused_; }

 private:
  KvCache& cache() { return model_.cache(); }
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_.next_u32()) % n; }
  int32_t any() { return std::next(texts_.begin(), below(static_cast<int64_t>(texts_.size())))->first; }
  std::vector<int32_t> random_text(int64_t n) { return random_ids(n, model_.config().vocab, rng_.next_u32()); }

  // A cache that is full refuses, and is what it was.
  template <class Call>
  void attempt(const Call& call) {
    const int64_t free = cache().free_pages();
    try {
      call();
    } catch (const Error&) {
      ++refused_;
      EXPECT_EQ(cache().free_pages(), free);
    }
  }

  void fork() {
    const int32_t from = any();
    const int64_t length = below(cache().length(from) + 1);
    attempt([&] {
      const int32_t copy = cache().fork(from, length);
      texts_[copy] = {texts_[from].begin(), texts_[from].begin() + length};
    });
  }

  void truncate() {
    const int32_t sequence = any();
    const int64_t length = below(cache().length(sequence) + 1);
    attempt([&] {
      cache().truncate(sequence, length);
      texts_[sequence].resize(static_cast<size_t>(length));
    });
  }

  // Each sequence takes part or not, in any order, with one token mostly.
  void forward() {
    std::vector<int32_t> chosen;
    for (const auto& [sequence, text] : texts_) {
      if (chosen.empty() || below(2) == 0) chosen.insert(chosen.begin() + below(2) * std::ssize(chosen), sequence);
    }
    std::vector<std::vector<int32_t>> fresh;
    for (size_t i = 0; i < chosen.size(); ++i) fresh.push_back(random_text(below(3) == 0 ? 1 + below(45) : 1));
    std::vector<Gpt2Inference::Tokens> batch;
    for (size_t i = 0; i < chosen.size(); ++i) batch.push_back({chosen[i], fresh[i]});
    const auto vocab = static_cast<size_t>(model_.config().vocab);
    std::vector<float> logits(chosen.size() * vocab);
    attempt([&] {
      model_.forward(batch, logits);
      ++done_;
      for (size_t i = 0; i < chosen.size(); ++i) {
        std::vector<int32_t>& text = texts_[chosen[i]];
        text.insert(text.end(), fresh[i].begin(), fresh[i].end());
        const std::span<const float> got = std::span(logits).subspan(i * vocab, vocab);
        EXPECT_TRUE(std::ranges::equal(got, expected(text))) << "sequence " << chosen[i] << " of " << text.size();
      }
    });
  }

  std::vector<float> expected(const std::vector<int32_t>& text) {
    std::vector<float> logits(static_cast<size_t>(model_.config().vocab));
    const Gpt2Inference::Tokens all = {whole_.cache().add(), text};
    whole_.forward(std::span(&all, 1), logits);
    whole_.cache().remove(all.sequence);
    return logits;
  }

  Gpt2Inference& model_;
  Gpt2Inference& whole_;
  Mt19937 rng_;
  std::map<int32_t, std::vector<int32_t>> texts_;  // what each sequence holds
  int done_ = 0, refused_ = 0;                     // forward passes; calls of any kind
};

class InferenceRandom : public testing::TestWithParam<const char*> {
 protected:
  ThreadPool pool_{2};
  std::unique_ptr<Ops> ops_ = make_ops(GetParam(), pool_);
  TempDir dir_;

  std::unique_ptr<Gpt2Inference> inference(const Gpt2Config& config, DType dtype, const InferenceOptions& options) {
    const fs::path path = dir_ / "model.gguf";
    save_gguf(path, *model_source(*make_model(*ops_, {.batch = 1, .context = 0}, config)), {dtype, dtype}, nullptr);
    return std::make_unique<Gpt2Inference>(load_inference_weights(open_model(path), *ops_), options, *ops_);
  }
};

TEST_P(InferenceRandom, TurnsGiveTheBitsOfWholeTexts) {
  const bool slow = std::string_view(GetParam()) == "ref";
  uint32_t seed = 1;
  for (const DType dtype : {DType::f32, DType::f16, DType::q8_0, DType::q4_0}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const auto model = inference(kSmall, dtype, {.sequences = 4, .pages = 8, .rows = 23}),
               whole = inference(kSmall, dtype, {});
    RandomTurns turns(*model, *whole, seed++);
    turns.run(slow ? 60 : 400);
    EXPECT_GT(turns.done(), slow ? 10 : 60);
    EXPECT_GT(turns.refused(), slow ? 0 : 10);
  }
}

TEST_P(InferenceRandom, TurnsOfTheSmallestAndOddModels) {
  uint32_t seed = 11;
  for (const Gpt2Config& config : {Gpt2Config{.context = 1, .vocab = 1, .layers = 1, .heads = 1, .channels = 1},
                                   Gpt2Config{.context = 33, .vocab = 7, .layers = 1, .heads = 1, .channels = 5},
                                   Gpt2Config{.context = 64, .vocab = 300, .layers = 3, .heads = 3, .channels = 51}}) {
    const auto model = inference(config, DType::f32, {.sequences = 3, .pages = 4, .rows = 5}),
               whole = inference(config, DType::f32, {});
    RandomTurns turns(*model, *whole, seed++);
    turns.run(80);
    EXPECT_GT(turns.done(), 0);
  }
}

TEST_P(InferenceRandom, DecodingAllocatesNothing) {
  if (std::string_view(GetParam()) == "ref") GTEST_SKIP() << "the plain loops allocate";
  for (const DType dtype : {DType::f32, DType::f16, DType::q8_0, DType::q4_0}) {
    const auto model = inference(kSmall, dtype, {.sequences = 2});
    std::vector<float> out(2 * static_cast<size_t>(kSmall.vocab));
    const std::vector<int32_t> ids = random_ids(80, kSmall.vocab, 3);
    for (int i = 0; i < 2; ++i) model->cache().add();
    const auto decode = [&](size_t token) {
      const std::array batch = {Gpt2Inference::Tokens{0, std::span(ids).subspan(token, 1)},
                                Gpt2Inference::Tokens{1, std::span(ids).subspan(token, 1)}};
      model->forward(batch, out);
    };
    decode(0);  // working memory takes its size
    const int64_t before = allocations();
    for (size_t i = 1; i < ids.size(); ++i) decode(i);  // into a second page and a third
    EXPECT_EQ(allocations() - before, 0) << name_of(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, InferenceRandom, testing::Values("ref", "cpu"),
                         [](const auto& p) { return p.param; });

}  // namespace
}  // namespace ink
