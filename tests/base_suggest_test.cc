// base: the nearest valid name to a mistyped one.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "ink/base/check.h"
#include "ink/base/suggest.h"

namespace ink {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"gpt2", "char", "byte", "--weight-decay", "--warmup"};

TEST(Suggest, FindsTheNearest) {
  EXPECT_EQ(nearest("gtp2", kNames), "gpt2");
  EXPECT_EQ(nearest("GPT2", kNames), "gpt2");
  EXPECT_EQ(nearest("chars", kNames), "char");
  EXPECT_EQ(nearest("byt", kNames), "byte");
  EXPECT_EQ(nearest("gpt2", kNames), "gpt2");
  EXPECT_EQ(nearest("--wieght_decay", kNames), "--weight-decay");
}

TEST(Suggest, IsEmptyWhenNothingIsClose) {
  EXPECT_EQ(nearest("sentencepiece", kNames), "");
  EXPECT_EQ(nearest("", kNames), "");
  EXPECT_EQ(nearest("gpt2", {}), "");
  EXPECT_EQ(nearest(std::string(10000, 'a'), kNames), "");
  constexpr std::array<std::string_view, 1> kLetter = {"b"};
  EXPECT_EQ(nearest("t", kLetter), "");
}

TEST(Suggest, TakesTheFirstOfEquals) {
  constexpr std::array<std::string_view, 2> kPair = {"hat", "cat"};
  EXPECT_EQ(nearest("bat", kPair), "hat");
}

std::string message_of_unknown(std::string_view name, std::string_view others = {}) {
  try {
    fail_unknown("tokenizer", name, std::span(kNames).first(3), others);
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(Suggest, SaysWhatIsKnown) {
  EXPECT_EQ(message_of_unknown("gtp2"), "unknown tokenizer 'gtp2', did you mean 'gpt2'?; known: gpt2, char, byte");
  EXPECT_EQ(message_of_unknown("zzz"), "unknown tokenizer 'zzz'; known: gpt2, char, byte");
  EXPECT_EQ(message_of_unknown("zzz", "or a folder"), "unknown tokenizer 'zzz'; known: gpt2, char, byte, or a folder");
}

}  // namespace
}  // namespace ink
