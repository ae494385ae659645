// text: the files of Hugging Face tokenizers, whole and broken.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "ink/base/file.h"
#include "ink/text/byte_level.h"
#include "tests/temp_dir.h"
#include "tests/text_helpers.h"

namespace ink {
namespace {

using nlohmann::json;

// Not synced to the disk, as write_file is: that takes most of a test's time.
void put(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

json read_json(const fs::path& path) { return json::parse(read_file(path)); }

// A tokenizer.json with all bytes (id = byte), the token "ab" (256) and one special token (257).
json small_bpe() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[to_byte_level(std::string(1, static_cast<char>(static_cast<uint8_t>(byte))))] = byte;
  }
  vocab["ab"] = 256;
  return {{"added_tokens", {{{"id", 257}, {"content", "<|end|>"}, {"special", true}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}}}};
}

json small_char() {
  return {{"pre_tokenizer", {{"type", "Split"}, {"behavior", "Isolated"}}},
          {"model", {{"type", "WordLevel"}, {"vocab", {{"a", 0}, {"b", 1}, {"<0xFF>", 2}}}}}};
}

class TokenizerFiles : public testing::Test {
 protected:
  fs::path path() const { return dir_ / "tokenizer.json"; }

  std::shared_ptr<const Tokenizer> load(const json& content) const {
    put(path(), content.dump());
    return load_tokenizer(dir_.path());
  }
  // What follows the file's name in the error.
  std::string error(const json& content) const {
    const std::string message = error_of([&] { load(content); });
    EXPECT_TRUE(message.starts_with(path().string() + ": ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message.substr(std::min(message.size(), path().string().size() + 2));
  }

  TempDir dir_;
};

TEST_F(TokenizerFiles, Gpt2SurvivesSaving) {
  gpt2().save(dir_ / "gpt2");
  const auto loaded = load_tokenizer(dir_ / "gpt2");
  EXPECT_EQ(loaded->name(), "gpt2");
  EXPECT_EQ(loaded->vocab_size(), 50257);
  EXPECT_EQ(loaded->end_of_text(), 50256);
  EXPECT_EQ(loaded->special_tokens(), gpt2().special_tokens());
  Mt19937 rng(7);
  const std::string text = tricky_bytes(rng, 3000) + " antidisestablishmentarianism" + std::string(100, 'a');
  EXPECT_EQ(ids_of(*loaded, text), ids_of(gpt2(), text));
  // The older pair of files says the same.
  fs::remove(dir_ / "gpt2/tokenizer.json");
  const auto older = load_tokenizer(dir_ / "gpt2");
  EXPECT_EQ(older->end_of_text(), 50256);
  EXPECT_EQ(ids_of(*older, text), ids_of(gpt2(), text));
}

TEST_F(TokenizerFiles, Gpt2FilesAreHuggingFaces) {
  gpt2().save(dir_.path());
  const json file = read_json(path());
  EXPECT_EQ(file["model"]["vocab"]["\xc4\xa0the"], 262);
  EXPECT_EQ(file["model"]["vocab"]["<|endoftext|>"], 50256);
  EXPECT_EQ(file["model"]["merges"][0], "\xc4\xa0 t");
  EXPECT_EQ(file["model"]["merges"].size(), 50000u);
  EXPECT_EQ(file["added_tokens"][0]["id"], 50256);
  EXPECT_EQ(file["pre_tokenizer"]["add_prefix_space"], false);
  EXPECT_EQ(read_json(dir_ / "vocab.json"), file["model"]["vocab"]);
  EXPECT_TRUE(read_file(dir_ / "merges.txt").starts_with("#version: 0.2\n\xc4\xa0 t\n"));
  const json config = read_json(dir_ / "tokenizer_config.json");
  EXPECT_EQ(config["tokenizer_class"], "GPT2Tokenizer");
  EXPECT_EQ(config["eos_token"], "<|endoftext|>");
}

TEST_F(TokenizerFiles, CharSurvivesSaving) {
  using namespace std::string_literals;  // a literal with a NUL in it
  const std::string text = "a\xc3\xa9\xf0\x9f\x98\x80\"\\\n\0<0xFF>\xff\x80"s;
  const auto tokenizer = make_char_tokenizer(text);
  tokenizer->save(dir_.path());
  const auto loaded = load_tokenizer(dir_.path());
  EXPECT_EQ(loaded->name(), "char");
  EXPECT_EQ(loaded->vocab_size(), tokenizer->vocab_size());
  EXPECT_EQ(ids_of(*loaded, text), ids_of(*tokenizer, text));
  EXPECT_EQ(loaded->decode(ids_of(*loaded, text)), text);
  EXPECT_EQ(read_json(path())["model"]["vocab"]["<0x80>"], tokenizer->vocab_size() - 2);
}

TEST_F(TokenizerFiles, ByteSurvivesSaving) {
  make_byte_tokenizer()->save(dir_.path());
  const auto loaded = load_tokenizer(dir_.path());
  EXPECT_EQ(loaded->name(), "byte");
  EXPECT_EQ(loaded->vocab_size(), 256);
}

TEST_F(TokenizerFiles, ASavedFileIsReplacedAndAFileInTheWayIsAnError) {
  make_char_tokenizer("abc")->save(dir_.path());
  make_char_tokenizer("ab")->save(dir_.path());
  EXPECT_EQ(load_tokenizer(dir_.path())->vocab_size(), 2);
  put(dir_ / "file", "x");
  EXPECT_NE(error_of([&] { make_byte_tokenizer()->save(dir_ / "file"); }), "");
}

TEST_F(TokenizerFiles, LoadsAnyVocabulary) {
  const auto tokenizer = load(small_bpe());
  EXPECT_EQ(tokenizer->vocab_size(), 258);
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);  // nothing says that <|end|> ends a text
  EXPECT_EQ(ids_of(*tokenizer, "abab<|end|>"), (std::vector<int32_t>{256, 256, '<', '|', 'e', 'n', 'd', '|', '>'}));
  std::vector<int32_t> ids;
  tokenizer->encode_with_special("ab<|end|>", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{256, 257}));
}

TEST_F(TokenizerFiles, EndOfTextIsTheConfigsEosToken) {
  for (const char* config : {R"({"eos_token": "<|end|>"})", R"({"eos_token": {"content": "<|end|>"}})"}) {
    put(dir_ / "tokenizer_config.json", config);
    const auto tokenizer = load(small_bpe());
    EXPECT_EQ(tokenizer->end_of_text(), 257) << config;
    tokenizer->save(dir_ / "again");
    EXPECT_EQ(load_tokenizer(dir_ / "again")->end_of_text(), 257) << config;
  }
  for (const char* config : {R"({"eos_token": "</s>"})", R"({"eos_token": null})", "{}"}) {
    put(dir_ / "tokenizer_config.json", config);
    EXPECT_EQ(load(small_bpe())->end_of_text(), std::nullopt) << config;
  }
  put(dir_ / "tokenizer_config.json", R"({"eos_token": 3})");
  EXPECT_EQ(error_of([&] { load(small_bpe()); }),
            (dir_ / "tokenizer_config.json").string() + ": eos_token is number, expected a string");
}

TEST_F(TokenizerFiles, TakesBothSpellingsOfMergesAndFilesWithoutAType) {
  json file = small_bpe();
  file["model"].erase("type");
  file["model"]["merges"] = json::array({json::array({"a", "b"})});
  EXPECT_EQ(ids_of(*load(file), "ab"), std::vector<int32_t>{256});
  file = small_bpe();
  file["model"]["vocab"]["<|end|>"] = 257;  // as GPT-2's own file, which names it twice
  EXPECT_EQ(load(file)->vocab_size(), 258);
}

TEST_F(TokenizerFiles, ATruncatedOrDamagedFileIsAnError) {
  const std::string text = small_bpe().dump();
  for (const size_t size : {size_t{0}, size_t{1}, text.size() / 2, text.size() - 1}) {
    put(path(), text.substr(0, size));
    const std::string message = error_of([&] { load_tokenizer(dir_.path()); });
    EXPECT_NE(message.find("tokenizer.json: not valid JSON at byte "), std::string::npos) << message;
  }
  put(path(), "{\"a\": \"\xff\"}");
  EXPECT_NE(error_of([&] { load_tokenizer(dir_.path()); }), "");
  put(path(), "{\"a\": 1e999}");
  EXPECT_EQ(error_of([&] { load_tokenizer(dir_.path()); }), path().string() + ": holds a number that is out of range");
  put(path(), std::string(100'000, '['));
  EXPECT_NE(error_of([&] { load_tokenizer(dir_.path()); }), "");
}

// Bits flipped anywhere give an Error or a tokenizer, never a crash.
TEST_F(TokenizerFiles, BitFlipsDoNoHarm) {
  const std::string text = small_bpe().dump();
  Mt19937 rng(8);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = text;
    damaged[rng.next_u32() % text.size()] ^= static_cast<char>(1u << rng.next_u32() % 7);
    put(path(), damaged);
    error_of([&] {
      const auto tokenizer = load_tokenizer(dir_.path());
      EXPECT_EQ(tokenizer->decode(ids_of(*tokenizer, "abab \xff")), "abab \xff");
    });
  }
}

TEST_F(TokenizerFiles, ATooLargeFileIsRefusedUnread) {
  put(path(), "{");
  fs::resize_file(path(), uintmax_t{1} << 40);  // no disk is used
  EXPECT_EQ(error_of([&] { load_tokenizer(dir_.path()); }),
            path().string() + ": 1099511627776 bytes, too large for a tokenizer (at most 268435456)");
}

TEST_F(TokenizerFiles, MissingFilesAreNamed) {
  const std::string dir = dir_.path().string();
  EXPECT_EQ(error_of([&] { load_tokenizer(dir_ / "none"); }),
            dir + "/none: no such folder; a tokenizer is a folder with a tokenizer.json");
  EXPECT_EQ(error_of([&] { load_tokenizer(dir); }), dir + ": holds no tokenizer.json, and no vocab.json either");
  put(dir_ / "vocab.json", "{}");
  EXPECT_EQ(error_of([&] { load_tokenizer(dir); }), dir + ": holds no tokenizer.json, and no merges.txt either");
}

TEST_F(TokenizerFiles, PartsOfTheWrongTypeAreNamed) {
  EXPECT_EQ(error(json::array()), "holds array, expected an object");
  EXPECT_EQ(error(json::object()), "model is missing, expected an object");
  EXPECT_EQ(error({{"model", "BPE"}}), "model is string, expected an object");
  EXPECT_EQ(error({{"model", {{"type", 3}}}}), "model.type is number, expected a string");
  EXPECT_EQ(error({{"model", json::object()}}), "model.type is missing, expected a string");
  EXPECT_EQ(error({{"model", {{"type", "Unigram"}}}}),
            "model.type is \"Unigram\": not supported, only BPE and WordLevel are");
  const auto with = [](const char* pointer, const json& value) {
    json file = small_bpe();
    file[json::json_pointer(pointer)] = value;
    return file;
  };
  EXPECT_EQ(error(with("/model/vocab", json::array())), "model.vocab is array, expected an object");
  EXPECT_EQ(error(with("/model/vocab", nullptr)), "model.vocab is missing, expected an object");
  EXPECT_EQ(error(with("/model/merges", "a b")), "model.merges is string, expected an array");
  EXPECT_EQ(error(with("/model/merges", {1})), "model.merges[0] is number, expected a string");
  EXPECT_EQ(error(with("/model/merges", {{1, 2}})), "model.merges[0] is number, expected a string");
  EXPECT_EQ(error(with("/model/ignore_merges", "no")), "model.ignore_merges is string, expected true or false");
  EXPECT_EQ(error(with("/added_tokens", 3)), "added_tokens is number, expected an array");
  EXPECT_EQ(error(with("/added_tokens/0", "x")), "added_tokens[0] is string, expected an object");
  EXPECT_EQ(error(with("/added_tokens/0/content", nullptr)), "added_tokens[0].content is missing, expected a string");
  EXPECT_EQ(error(with("/pre_tokenizer", "ByteLevel")), "pre_tokenizer is string, expected an object");
}

TEST_F(TokenizerFiles, BadIdsAreNamed) {
  const auto with_id = [](const json& id) {
    json file = small_bpe();
    file["model"]["vocab"]["ab"] = id;
    return file;
  };
  const std::string range = ", expected a whole number from 0 to 2097151";
  EXPECT_EQ(error(with_id(-1)), "model.vocab: token \"ab\" has id -1" + range);
  EXPECT_EQ(error(with_id(1.5)), "model.vocab: token \"ab\" has id 1.5" + range);
  EXPECT_EQ(error(with_id("7")), "model.vocab: token \"ab\" has id string" + range);
  EXPECT_EQ(error(with_id(2097152)), "model.vocab: token \"ab\" has id 2097152" + range);
  EXPECT_EQ(error(with_id(18446744073709551615ull)), "model.vocab: token \"ab\" has id 18446744073709551615" + range);
  EXPECT_EQ(error(with_id(300)),
            "model.vocab: token \"ab\" has id 300, but there are 258 tokens: ids must run from 0 to 257");
  EXPECT_NE(error(with_id(255)).find("both have id 255"), std::string::npos);
  EXPECT_NE(error(with_id(257)).find("added_tokens[0]: tokens \"ab\" and \"<|end|>\" both have id 257"),
            std::string::npos);
}

TEST_F(TokenizerFiles, BadTokensAndMergesAreNamed) {
  json file = small_bpe();
  file["model"]["vocab"]["a b"] = 258;
  EXPECT_EQ(error(file), "model.vocab: token 258, \"a b\", is not spelled in GPT-2's byte-level alphabet");
  file = small_bpe();
  file["model"]["vocab"].erase("a");
  file["model"]["vocab"]["aa"] = 97;
  file["model"]["merges"] = json::array();
  EXPECT_EQ(error(file), "the vocabulary has no token for byte 0x61: a byte-level BPE needs all 256");
  const auto merge_error = [this](const json& merges) {
    json with_merges = small_bpe();
    with_merges["model"]["merges"] = merges;
    return error(with_merges);
  };
  EXPECT_EQ(merge_error({"a b", "a zz"}), "model.merges: merge 1 needs the token \"zz\", which the vocabulary lacks");
  EXPECT_EQ(merge_error({"b a"}), "model.merges: merge 0 needs the token \"ba\", which the vocabulary lacks");
  EXPECT_EQ(merge_error({"a b", "a b"}), "model.merges: merge 1 of \"a\" and \"b\" is there twice");
  for (const char* bad : {"ab", "a b c", " b", "a ", ""}) {
    EXPECT_NE(merge_error({bad}).find("expected two tokens with a blank between them"), std::string::npos) << bad;
  }
}

TEST_F(TokenizerFiles, BadAddedTokensAreNamed) {
  json file = small_bpe();
  file["added_tokens"][0]["special"] = false;
  EXPECT_EQ(error(file),
            "added_tokens[0]: token \"<|end|>\" is not special; added tokens that plain text gives are not supported");
  file = small_bpe();
  file["added_tokens"][0]["content"] = "";
  EXPECT_EQ(error(file), "added_tokens[0]: an empty token");
  file = small_bpe();
  file["added_tokens"].push_back(file["added_tokens"][0]);
  EXPECT_EQ(error(file), "added_tokens[1]: token \"<|end|>\" is there twice");
}

TEST_F(TokenizerFiles, WhatWouldGiveOtherIdsIsRefused) {
  const auto refused = [this](const char* pointer, const json& value) {
    json file = small_bpe();
    file[json::json_pointer(pointer)] = value;
    const std::string message = error(file);
    EXPECT_NE(message.find("not supported"), std::string::npos) << pointer << ": " << message;
  };
  refused("/normalizer", {{"type", "NFC"}});
  refused("/pre_tokenizer", nullptr);
  refused("/pre_tokenizer/type", "Metaspace");
  refused("/pre_tokenizer/add_prefix_space", true);
  refused("/pre_tokenizer/use_regex", false);
  refused("/model/continuing_subword_prefix", "##");
  refused("/model/end_of_word_suffix", "</w>");
  refused("/model/dropout", 0.1);
  refused("/model/byte_fallback", true);
}

TEST_F(TokenizerFiles, BadCharFilesAreNamed) {
  EXPECT_EQ(load(small_char())->decode(std::vector<int32_t>{0, 1, 2}), "ab\xff");
  for (const char* word : {"ab", "", "[UNK]", "<0x7F>", "<0xfe>", "<0xF>", "\xc3\xa9x"}) {
    json file = small_char();
    file["model"]["vocab"][word] = 3;
    EXPECT_NE(error(file).find("is not one character"), std::string::npos) << word;
  }
  json file = small_char();
  file["added_tokens"] = {{{"id", 3}, {"content", "[PAD]"}, {"special", true}}};
  EXPECT_EQ(error(file), "added_tokens: a char tokenizer has no special tokens, 1 found");
  file = small_char();
  file["pre_tokenizer"]["type"] = "Whitespace";
  EXPECT_NE(error(file).find("not supported"), std::string::npos);
  file = small_char();
  file["model"]["vocab"] = json::object();
  EXPECT_EQ(error(file), "model.vocab: no tokens");
}

TEST_F(TokenizerFiles, VocabAndMergesFilesAreChecked) {
  const json vocab = small_bpe()["model"]["vocab"];
  put(dir_ / "vocab.json", vocab.dump());
  put(dir_ / "merges.txt", "#version: 0.2\r\na b\r\n\r\n");
  EXPECT_EQ(ids_of(*load_tokenizer(dir_.path()), "ab"), std::vector<int32_t>{256});
  put(dir_ / "merges.txt", "a b");
  EXPECT_EQ(ids_of(*load_tokenizer(dir_.path()), "ab"), std::vector<int32_t>{256});
  const std::string merges = (dir_ / "merges.txt").string();
  put(merges, "#version: 0.2\na b\na\n");
  EXPECT_EQ(error_of([&] { load_tokenizer(dir_.path()); }),
            merges + ": merge 1 is \"a\", expected two tokens with a blank between them");
  put(merges, "");
  put(dir_ / "vocab.json", "[]");
  EXPECT_EQ(error_of([&] { load_tokenizer(dir_.path()); }),
            (dir_ / "vocab.json").string() + ": holds array, expected an object");
  put(dir_ / "vocab.json", "{\"a\": 1}");
  EXPECT_EQ(
      error_of([&] { load_tokenizer(dir_.path()); }),
      (dir_ / "vocab.json").string() + ": token \"a\" has id 1, but there are 1 tokens: ids must run from 0 to 0");
}

}  // namespace
}  // namespace ink
