// format: GGUF files, models and tokenizers in them, and headers that lie.
#include "ink/format/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "ink/base/file.h"
#include "ink/format/model_io.h"
#include "ink/tensor/cast.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

// Channels are one block, and the vocabulary needs padding.
constexpr Gpt2Config kBlocks = {.context = 12, .vocab = 300, .layers = 2, .heads = 2, .channels = 32};

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string string(std::string_view text) { return raw(uint64_t{text.size()}) + std::string(text); }

// --- models ---

class GgufModel : public ::testing::Test {
 protected:
  std::vector<float> load(const fs::path& path) {
    Gpt2 model(read_model_config(path), {}, *ops_);
    model.allocate();
    for (const Param& p : model.params()) ops_->fill(p.weight, -7);
    load_weights(path, model);
    std::vector<float> all;
    for (const Param& p : model.params()) {
      const std::vector<float> values = values_of(model, p.weight);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
  // What a model's parameters are after they were stored.
  std::vector<float> rounded(const Gpt2& model, DType matrices, DType embedding) {
    std::vector<float> all;
    for (const Param& p : model.params()) {
      std::vector<float> values = values_of(model, p.weight);
      const DType dtype = p.spec->vocab_rows ? embedding : p.spec->transposed ? matrices : DType::f32;
      std::vector<std::byte> bytes(bytes_of(dtype, static_cast<int64_t>(values.size())));
      from_f32(values, dtype, bytes.data());
      to_f32(dtype, bytes.data(), values);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  ThreadPool pool_{1};
  std::unique_ptr<Ops> ops_ = make_ops("ref", pool_);
  TempDir dir_;
  const fs::path path_ = dir_ / "model.gguf";
};

TEST_F(GgufModel, EveryTypeGoesThereAndBackBitForBit) {
  const auto model = make_model(*ops_, {}, kBlocks);
  const auto tokenizer = make_byte_tokenizer();
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
    const DType embedding = type == DType::q4_0 ? DType::q8_0 : type;
    save_gguf(path_, *model_source(*model), {type, embedding}, tokenizer.get());
    EXPECT_EQ(read_model_config(path_), kBlocks);
    EXPECT_EQ(load(path_), rounded(*model, type, embedding)) << name_of(type);
    const auto source = open_model(path_);
    EXPECT_EQ(matrix_type(*source), type);
    EXPECT_EQ(source->tokenizer()->name(), "byte");
    save_gguf(dir_ / "again.gguf", *source, {}, source->tokenizer().get());
    EXPECT_TRUE(read_file(path_) == read_file(dir_ / "again.gguf")) << name_of(type);
  }
}

TEST_F(GgufModel, HoldsWhatLlamaCppExpects) {
  const auto model = make_model(*ops_, {}, kBlocks);
  save_gguf(path_, *model_source(*model), {DType::q4_0, DType::q8_0}, nullptr);
  const GgufFile file(path_);
  EXPECT_EQ(file.at("general.architecture").text(), "gpt2");
  EXPECT_EQ(file.at("general.file_type").whole(), 2);
  EXPECT_EQ(file.at("gpt2.context_length").whole(), 12);
  EXPECT_EQ(file.at("gpt2.embedding_length").whole(), 32);
  EXPECT_EQ(file.at("gpt2.feed_forward_length").whole(), 128);
  EXPECT_EQ(file.at("gpt2.block_count").whole(), 2);
  EXPECT_EQ(file.at("gpt2.attention.head_count").whole(), 2);
  EXPECT_EQ(file.at("tokenizer.ggml.model").text(), "none");
  EXPECT_FLOAT_EQ(static_cast<float>(file.at("gpt2.attention.layer_norm_epsilon").number()), 1e-5f);
  EXPECT_EQ(file.tensors().size(), 4u + 12 * 2);
  const auto expect = [&](const char* name, std::vector<int64_t> dims, const char* type) {
    const auto found = file.tensors().find(name);
    ASSERT_NE(found, file.tensors().end()) << name;
    EXPECT_EQ(found->second.dims, dims) << name;
    EXPECT_EQ(found->second.type_name, type) << name;
  };
  expect("token_embd.weight", {32, 300}, "Q8_0");
  expect("position_embd.weight", {32, 12}, "F32");
  expect("blk.1.attn_qkv.weight", {32, 96}, "Q4_0");
  expect("blk.1.attn_qkv.bias", {96}, "F32");
  expect("blk.0.ffn_down.weight", {128, 32}, "Q4_0");
  expect("blk.0.ffn_norm.weight", {32}, "F32");
  expect("output_norm.bias", {32}, "F32");
}

TEST_F(GgufModel, HasAHeadOfItsOwnWhereItDiffers) {
  Gpt2Config config = kBlocks;
  config.tied = false;
  const auto model = make_model(*ops_, {}, config);
  save_gguf(path_, *model_source(*model), {}, nullptr);
  EXPECT_EQ(read_model_config(path_), config);
  EXPECT_EQ(load(path_), rounded(*model, DType::f32, DType::f32));
  EXPECT_EQ(GgufFile(path_).tensors().count("output.weight"), 1u);
}

TEST_F(GgufModel, RowsThatAreNoBlocksBecomeF16) {
  const auto model = make_model(*ops_, {}, kTiny);  // 10 channels: no row is a multiple of 32
  save_gguf(path_, *model_source(*model), {DType::q8_0, DType::q8_0}, nullptr);
  EXPECT_EQ(matrix_type(*open_model(path_)), DType::f16);
  EXPECT_EQ(load(path_), rounded(*model, DType::f16, DType::f16));
}

TEST_F(GgufModel, BringsItsTokenizer) {
  Gpt2Config config = kBlocks;
  config.vocab = 50300;  // more than the tokenizer's
  config.layers = 1;
  const auto model = make_model(*ops_, {}, config);
  const std::string text = "to be, or not\n\tto be 42 \xc3\xa9t\xc3\xa9 \xe2\x82\xac \xff <|endoftext|>";
  for (const auto& tokenizer : {make_gpt2_tokenizer(), make_byte_tokenizer(), make_char_tokenizer(text)}) {
    save_gguf(path_, *model_source(*model), {}, tokenizer.get());
    const auto back = open_model(path_)->tokenizer();
    ASSERT_NE(back, nullptr);
    EXPECT_EQ(describe(*back), describe(*tokenizer));
    EXPECT_EQ(back->end_of_text(), tokenizer->end_of_text());
    std::vector<int32_t> ids, expected;
    back->encode_with_special(text, ids);
    tokenizer->encode_with_special(text, expected);
    EXPECT_EQ(ids, expected) << tokenizer->name();
    const GgufFile file(path_);
    EXPECT_EQ(file.at("tokenizer.ggml.tokens").count, 50300u);
    EXPECT_EQ(file.at("tokenizer.ggml.tokens").texts().back(), "[PAD50299]");
    EXPECT_EQ(file.at("tokenizer.ggml.token_type").wholes().back(), 5);
  }
}

TEST_F(GgufModel, ACharacterOfSeveralBytesIsMergedFromThem) {
  const auto model = make_model(*ops_, {}, kBlocks);
  save_gguf(path_, *model_source(*model), {}, make_char_tokenizer("a\xe2\x82\xac\xe2\x82\xad").get());
  const GgufFile file(path_);
  // â is byte 0xe2, Ĥ 0x82, ¬ 0xac and 0xad is Ń in the byte-level alphabet.
  EXPECT_EQ(
      file.at("tokenizer.ggml.merges").texts(),
      (std::vector<std::string_view>{"\xc3\xa2 \xc4\xa4", "\xc3\xa2\xc4\xa4 \xc2\xac", "\xc3\xa2\xc4\xa4 \xc5\x83"}));
}

// --- the container ---

struct Tensor {
  std::string name = "t";
  std::vector<uint64_t> dims = {8};
  uint32_t type = 0;
  uint64_t offset = 0;
};

// A file put together by hand, so that it can lie.
struct Made {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, key_count;
  std::vector<std::string> keys;  // name, type and value
  std::vector<Tensor> tensors = {{}};
  size_t data = 32;

  std::string bytes() const {
    std::string out =
        magic + raw(version) + raw(tensor_count.value_or(tensors.size())) + raw(key_count.value_or(keys.size()));
    for (const std::string& key : keys) out += key;
    for (const Tensor& t : tensors) {
      out += string(t.name) + raw(static_cast<uint32_t>(t.dims.size()));
      for (const uint64_t dim : t.dims) out += raw(dim);
      out += raw(t.type) + raw(t.offset);
    }
    out.resize((out.size() + 31) / 32 * 32);
    return out + std::string(data, '\1');
  }
};

template <class T>
std::string key(std::string_view name, GgufType type, T value) {
  return string(name) + raw(static_cast<uint32_t>(type)) + raw(value);
}
std::string array(std::string_view name, GgufType type, uint64_t count, const std::string& elements) {
  return string(name) + raw(static_cast<uint32_t>(GgufType::array)) + raw(static_cast<uint32_t>(type)) + raw(count) +
         elements;
}

class Gguf : public ::testing::Test {
 protected:
  GgufFile open(const Made& made) {
    write_file(path_, made.bytes());
    return GgufFile(path_);
  }
  void refuse(const Made& made, std::initializer_list<std::string_view> texts) {
    expect_error([&] { open(made); }, texts);
    expect_error([&] { open(made); }, {path_.string()});
  }
  void refuse_tensor(const Tensor& tensor, std::initializer_list<std::string_view> texts) {
    refuse({.tensors = {tensor}}, texts);
  }

  TempDir dir_;
  const fs::path path_ = dir_ / "file.gguf";
};

TEST_F(Gguf, ReadsValuesOfEveryType) {
  Made made;
  made.keys = {key("u8", GgufType::u8, uint8_t{200}),
               key("i8", GgufType::i8, int8_t{-3}),
               key("u16", GgufType::u16, uint16_t{60000}),
               key("i16", GgufType::i16, int16_t{7}),
               key("u32", GgufType::u32, 4000000000u),
               key("i32", GgufType::i32, int32_t{8}),
               key("u64", GgufType::u64, ~uint64_t{0}),
               key("i64", GgufType::i64, int64_t{1} << 40),
               key("f32", GgufType::f32, 0.5f),
               key("f64", GgufType::f64, 0.25),
               key("yes", GgufType::boolean, uint8_t{1}),
               string("text") + raw(uint32_t{8}) + string("hello"),
               array("texts", GgufType::string, 2, string("a") + string("")),
               array("ids", GgufType::i32, 2, raw(int32_t{-1}) + raw(int32_t{5})),
               array("nested", GgufType::array, 1, raw(uint32_t{0}) + raw(uint64_t{3}) + "xyz")};
  for (const uint32_t version : {2u, 3u}) {
    made.version = version;
    const GgufFile file = open(made);
    EXPECT_EQ(file.at("u8").whole(), 200);
    EXPECT_EQ(file.at("u16").whole(), 60000);
    EXPECT_EQ(file.at("i16").whole(), 7);
    EXPECT_EQ(file.at("u32").whole(), 4000000000);
    EXPECT_EQ(file.at("i32").whole(), 8);
    EXPECT_EQ(file.at("i64").whole(), int64_t{1} << 40);
    EXPECT_EQ(file.at("f32").number(), 0.5);
    EXPECT_EQ(file.at("f64").number(), 0.25);
    EXPECT_EQ(file.at("text").text(), "hello");
    EXPECT_EQ(file.at("texts").texts(), (std::vector<std::string_view>{"a", ""}));
    EXPECT_EQ(file.at("ids").wholes(), (std::vector<int64_t>{-1, 5}));
    EXPECT_EQ(file.at("nested").count, 1u);
    EXPECT_EQ(file.tensors().at("t").data.size(), 32u);
    for (const char* name : {"i8", "u64", "f32", "yes", "text", "ids"}) {
      expect_error([&] { file.at(name).whole(); }, {path_.string(), name, "whole number"});
    }
    expect_error([&] { file.at("u8").number(); }, {"u8", "floating-point"});
    expect_error([&] { file.at("u8").text(); }, {"u8", "not a string"});
    expect_error([&] { file.at("ids").texts(); }, {"ids", "not an array of strings"});
    for (const char* name : {"u8", "texts", "nested"}) {
      expect_error([&] { file.at(name).wholes(); }, {name, "not an array of whole numbers"});
    }
    expect_error([&] { file.at("absent"); }, {path_.string(), "absent"});
  }
}

TEST_F(Gguf, RefusesHeadersThatLie) {
  refuse({.magic = "GGUG"}, {"not a GGUF file"});
  refuse({.version = 1}, {"version 1"});
  refuse({.version = 4}, {"version 4"});
  refuse({.version = 0x03000000}, {"big-endian"});
  refuse({.tensor_count = ~uint64_t{0}}, {"18446744073709551615 tensors"});
  refuse({.tensor_count = 3}, {"3 tensors in a file of 96 bytes"});
  refuse({.key_count = ~uint64_t{0}}, {"18446744073709551615 keys"});
  refuse({.key_count = 2}, {"a key of 0 bytes"});
  refuse({.keys = {key("", GgufType::u8, uint8_t{1})}}, {"a key of 0 bytes"});
  refuse({.keys = {raw(~uint64_t{0}) + "key"}}, {"18446744073709551615 bytes", "left"});
  refuse({.keys = {key("k", GgufType{13}, uint8_t{1})}}, {"unknown value type 13"});
  refuse({.keys = {key("k", GgufType::u8, uint8_t{1}), key("k", GgufType::u8, uint8_t{1})}}, {"'k' comes twice"});
  refuse({.keys = {array("k", GgufType::u64, uint64_t{1} << 61, "")}}, {"k has 2305843009213693952 elements"});
  refuse({.keys = {array("k", GgufType::string, ~uint64_t{0}, "")}}, {"k takes", "left"});
  std::string deep;
  for (int i = 0; i < 5; ++i) deep += raw(uint32_t{9}) + raw(uint64_t{1});
  refuse({.keys = {array("k", GgufType::array, 1, deep + raw(uint32_t{0}) + raw(uint64_t{0}))}}, {"nested deeper"});
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 21}) {
    refuse({.keys = {key("general.alignment", GgufType::u32, alignment)}},
           {fmt::format("general.alignment is {}", alignment), "power of two"});
  }
  refuse({.keys = {string("general.alignment") + raw(uint32_t{8}) + string("32")}}, {"general.alignment"});
}

TEST_F(Gguf, RefusesTensorsThatLie) {
  refuse_tensor({.name = ""}, {"name of 0 bytes"});
  refuse_tensor({.name = std::string(65, 'n')}, {"name of 65 bytes"});
  refuse_tensor({.dims = {}}, {"'t' has 0 dimensions"});
  refuse_tensor({.dims = {1, 1, 1, 1, 1}}, {"'t' has 5 dimensions"});
  refuse_tensor({.dims = {0}}, {"dimension of 0"});
  refuse_tensor({.dims = {uint64_t{1} << 32, uint64_t{1} << 32}}, {"dimension of 4294967296", "overflows"});
  refuse_tensor({.dims = {9}}, {"'t' takes 36 bytes", "the file holds 32"});
  refuse_tensor({.dims = {33}, .type = 8}, {"rows of 33 elements", "Q8_0", "32"});
  refuse_tensor({.offset = 8}, {"begins at byte 8", "alignment 32"});
  refuse_tensor({.offset = 64}, {"from byte 64", "truncated"});
  refuse_tensor({.offset = ~uint64_t{31}}, {"truncated"});
  refuse({.tensors = {{}, {}}, .data = 64}, {"inside 't'"});
  refuse({.tensors = {{}, {.offset = 32}}, .data = 64}, {"'t' comes twice"});
  refuse({.tensors = {{.dims = {9}}, {.name = "u", .offset = 32}}, .data = 96},
         {"'u' begins at byte 32", "inside 't'"});
  EXPECT_EQ(open({.tensors = {{.name = "b", .offset = 32}, {.name = "a"}}, .data = 64}).tensors().size(), 2u);
  EXPECT_EQ(open({.tensors = {{.type = 99}}}).tensors().at("t").type_name, "");
}

TEST_F(GgufModel, RefusesModelsItDoesNotKnow) {
  save_gguf(path_, *model_source(*make_model(*ops_, {}, kBlocks)), {}, make_byte_tokenizer().get());
  const std::string good = read_file(path_);
  const auto refuse = [&](std::string_view what, std::string_view with, std::initializer_list<std::string_view> texts,
                          size_t after = 0) {
    std::string changed = good;
    changed.replace(good.find(what) + what.size() + after, with.size(), with);
    write_file(path_, changed);
    expect_error([&] { open_model(path_)->tokenizer(); }, texts);
    expect_error([&] { open_model(path_)->tokenizer(); }, {path_.string()});
  };
  refuse("general.architecture", "bert", {"general.architecture is 'bert'"}, 12);
  refuse("gpt2.context_length", raw(uint32_t{13}), {"position_embd.weight", "(32, 12)", "(32, 13)"}, 4);
  refuse("gpt2.block_count", raw(uint32_t{3}), {"no tensor 'blk.2.attn_norm.weight'"}, 4);
  refuse("gpt2.block_count", raw(uint32_t{1}), {"'blk.1.attn_norm.bias' is not part"}, 4);
  refuse("gpt2.block_count", raw(uint32_t{0}), {"layers is 0"}, 4);
  refuse("gpt2.attention.head_count", raw(uint32_t{3}), {"multiple of heads"}, 4);
  refuse("gpt2.feed_forward_length", raw(uint32_t{64}), {"gpt2.feed_forward_length is 64, only 128"}, 4);
  refuse("gpt2.vocab_size", raw(uint32_t{64}), {"gpt2.vocab_size is 64"}, 4);
  refuse("tokenizer.ggml.model", "bpe2", {"tokenizer.ggml.model is 'bpe2'"}, 12);
  refuse("tokenizer.ggml.pre", "qwen2", {"tokenizer.ggml.pre is 'qwen2'"}, 12);
  refuse("tokenizer.ggml.token_type", raw(int32_t{4}), {"token 0 is user-defined"}, 16);
  refuse("blk.1.ffn_up.weight", raw(uint32_t{10}), {"rows of 32 elements", "Q2_K"}, 4 + 16);
  refuse("blk.1.ffn_up.weight", raw(uint32_t{3}), {"'blk.1.ffn_up.weight' is Q4_1", "Q6_K can be read"}, 4 + 16);
  refuse("blk.1.ffn_up.weight", raw(uint32_t{77}), {"unknown type 77"}, 4 + 16);
}

TEST_F(GgufModel, SurvivesEveryDamagedByte) {
  save_gguf(path_, *model_source(*make_model(*ops_, {}, {4, 260, 1, 1, 8})), {}, make_byte_tokenizer().get());
  const std::string good = read_file(path_);
  const size_t header = good.find("output_norm.bias") + 64;
  for (size_t i = 0; i < header; i += i < 150 ? 1 : i + 1600 > header ? 5 : 67) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (i % 2 == 0 ? 0xff : 0x04));
    write_file(path_, bad);
    try {
      const auto source = open_model(path_);
      source->tokenizer();
    } catch (const Error&) {
    }
    if (i % 50 != 0) continue;
    write_file(path_, good.substr(0, i));
    EXPECT_THROW(open_model(path_), Error) << i;
  }
}

// ql, qh, 16 scales, d: element 0 has low nibble 5 and high bits 2, element 96 + 1 the high nibble 15 and bits 1.
TEST_F(GgufModel, ReadsQ6K) {
  constexpr Gpt2Config kWide = {.context = 2, .vocab = 5, .layers = 1, .heads = 1, .channels = 256};
  save_gguf(path_, *model_source(*make_model(*ops_, {}, kWide)), {}, nullptr);
  std::string file = read_file(path_);
  const size_t embedding = file.find("token_embd.weight") + 17 + 4 + 16;
  std::memcpy(file.data() + embedding, &kGgmlQ6K, 4);
  std::string blocks;
  for (int row = 0; row < 5; ++row) {
    std::string block(210, '\0');
    block[0] = 5;
    block[33] = static_cast<char>(0xf0);
    block[128] = 2;
    block[129] = 1 << 6;
    for (int i = 0; i < 16; ++i) block[static_cast<size_t>(192 + i)] = static_cast<char>(i - 8);
    const uint16_t d = f32_to_f16(0.25f);
    std::memcpy(block.data() + 208, &d, 2);
    blocks += block;
  }
  const GgufFile written(path_);
  const auto place = written.tensors().at("token_embd.weight").data;
  const std::string first(reinterpret_cast<const char*>(place.data()), 64);
  file.replace(file.find(first), blocks.size(), blocks);
  write_file(path_, file);
  const auto source = open_model(path_);
  const StoredTensor wte = source->tensor(gpt2_schema()[0], 0);
  EXPECT_EQ(wte.dtype, DType::f16);
  std::vector<float> values(5 * 256);
  read_elements(wte, 0, values);
  EXPECT_EQ(values[0], 0.25f * -8 * (5 + 32 - 32));
  EXPECT_EQ(values[1], 0.25f * -8 * -32);
  EXPECT_EQ(values[97], 0.25f * -2 * (15 + 16 - 32));
  EXPECT_EQ(values[255], 0.25f * 7 * -32);
  EXPECT_NE(source->description().find("q6_k is read as f16"), std::string::npos);
}

}  // namespace
}  // namespace ink
