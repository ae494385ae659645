// format: the safetensors reader and writer, and every way in which a header can lie.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>

#include "ink/base/dtype.h"
#include "ink/format/safetensors.h"
#include "tests/model_helpers.h"
#include "tests/temp_dir.h"

namespace ink {
namespace {

class Safetensors : public ::testing::Test {
 protected:
  // A file of this header, with the length that is true unless another is given, and data bytes.
  fs::path make(std::string_view header, size_t data_bytes, int64_t claimed = -1) {
    const uint64_t length = claimed >= 0 ? static_cast<uint64_t>(claimed) : header.size();
    std::string text(reinterpret_cast<const char*>(&length), sizeof length);
    text += header;
    text.append(data_bytes, '\x01');
    put(text);
    return path_;
  }
  // Quicker than write_file, which waits for the disk.
  void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  void expect_refused(std::string_view header, size_t data_bytes, std::initializer_list<std::string_view> texts) {
    make(header, data_bytes);
    SCOPED_TRACE(header);
    expect_error([&] { SafetensorsFile{path_}; }, texts);
    expect_error([&] { SafetensorsFile{path_}; }, {path_.string()});
  }

  TempDir dir_;
  fs::path path_ = dir_ / "x.safetensors";
};

SafetensorsTensor floats_tensor(std::string name, std::vector<int64_t> shape, std::vector<float> values) {
  return {std::move(name), DType::f32, std::move(shape),
          [values = std::move(values)](size_t begin, std::span<std::byte> out) {
            ASSERT_LE(begin + out.size(), values.size() * sizeof(float));
            std::ranges::copy(std::as_bytes(std::span(values)).subspan(begin, out.size()), out.begin());
          }};
}

TEST_F(Safetensors, RoundTripsEveryType) {
  const auto halves = [](std::vector<uint16_t> bits) {
    return [bits](size_t, std::span<std::byte> out) { std::memcpy(out.data(), bits.data(), out.size()); };
  };
  const std::vector<SafetensorsTensor> tensors = {
      floats_tensor("z", {2, 3}, {1, -2, 0.5f, 1e-40f, std::numeric_limits<float>::infinity(), -0.0f}),
      {"half", DType::f16, {3}, halves({0x3c00, 0xc000, 0x0001})},
      {"brain", DType::bf16, {1, 1, 1, 1, 2}, halves({0x3f80, 0xc000})},
      {"int", DType::i32, {1}, [](size_t, std::span<std::byte> out) { std::memset(out.data(), 7, out.size()); }},
      floats_tensor("scalar", {}, {42}),
      floats_tensor("empty", {0, 5}, {}),
  };
  write_safetensors(path_, tensors, {{"format", "pt"}, {"step", "12"}});
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}}));
  EXPECT_EQ(file.entries().size(), tensors.size());
  EXPECT_EQ(file.find("brain")->shape, (std::vector<int64_t>{1, 1, 1, 1, 2}));
  EXPECT_EQ(file.find("int")->dtype, "I32");
  EXPECT_EQ(file.find("int")->data[3], std::byte{7});
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.find("z")->data.data()) % 8, 0u);

  std::vector<float> z(6), half(3), brain(2), scalar(1), empty;
  read_floats(file, "z", z);
  EXPECT_EQ(z[3], 1e-40f);
  EXPECT_TRUE(std::signbit(z[5]));
  read_floats(file, "half", half);
  EXPECT_EQ(half, (std::vector<float>{1, -2, 0x1p-24f}));
  read_floats(file, "brain", brain);
  EXPECT_EQ(brain, (std::vector<float>{1, -2}));
  read_floats(file, "scalar", scalar);
  EXPECT_EQ(scalar[0], 42);
  read_floats(file, "empty", empty);
}

TEST_F(Safetensors, ReadsDataThatIsNotAligned) {
  const float value = 1.5f;
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  while (header.size() % 4 != 1) header += ' ';
  make(header, 4);
  std::string bytes = read_file(path_);
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  write_file(path_, bytes);
  std::vector<float> out(1);
  read_floats(SafetensorsFile(path_), "a", out);
  EXPECT_EQ(out[0], value);
}

TEST_F(Safetensors, AcceptsTensorsInAnyOrderAndNone) {
  make(R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       7);
  EXPECT_EQ(SafetensorsFile(path_).entries().size(), 2u);
  make("{}   ", 0);
  EXPECT_TRUE(SafetensorsFile(path_).entries().empty());
}

TEST_F(Safetensors, ReadErrorsNameTheTensor) {
  write_safetensors(path_, std::vector{floats_tensor("a", {2, 2}, {1, 2, 3, 4})});
  const SafetensorsFile file(path_);
  std::vector<float> three(3);
  expect_error([&] { read_floats(file, "b", three); }, {path_.string(), "'b'"});
  expect_error([&] { read_floats(file, "a", three); }, {path_.string(), "'a'", "(2, 2)", "3 elements"});
  make(R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", 8);
  std::vector<float> one(1);
  expect_error([&] { read_floats(SafetensorsFile(path_), "a", one); }, {"'a'", "I64"});
}

TEST_F(Safetensors, RefusesHeadersThatLieAboutTheirLength) {
  write_file(path_, "");
  expect_error([&] { SafetensorsFile{path_}; }, {path_.string(), "0 bytes", "too short"});
  write_file(path_, "1234567");
  expect_error([&] { SafetensorsFile{path_}; }, {"7 bytes"});
  make("{}", 0, 3);
  expect_error([&] { SafetensorsFile{path_}; }, {"claims 3 bytes", "holds 2"});
  make("{}", 0, 100'000'001);
  expect_error([&] { SafetensorsFile{path_}; }, {"100000001", "100000000"});
  make("{}", 0, std::numeric_limits<int64_t>::max());
  expect_error([&] { SafetensorsFile{path_}; }, {"9223372036854775807"});
  make("{}", 0, 0);
  expect_error([&] { SafetensorsFile{path_}; }, {"not valid JSON"});
  expect_error([&] { SafetensorsFile{dir_ / "absent"}; }, {"absent"});
}

TEST_F(Safetensors, RefusesHeadersThatAreNotAsTheyShould) {
  expect_refused("{", 0, {"not valid JSON", "of 1)"});
  expect_refused("{}}", 0, {"not valid JSON"});
  expect_refused("\xff\xfe{}", 0, {"not valid JSON"});
  expect_refused("[]", 0, {"not a JSON object", "array"});
  expect_refused("7", 0, {"number"});
  expect_refused(R"({"a":7})", 0, {"'a'", "7"});
  expect_refused(R"({"__metadata__":[]})", 0, {"__metadata__", "[]"});
  expect_refused(R"({"__metadata__":{"step":1}})", 0, {"__metadata__", "'step'", "1"});
  const std::string a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_refused("{" + a + "," + a + "}", 1, {"\"a\" twice"});
  expect_refused(R"({"a":{"dtype":"U8","shape":[2],"shape":[1],"data_offsets":[0,1]}})", 1, {"\"shape\" twice"});
}

TEST_F(Safetensors, RefusesTensorsThatLie) {
  const auto one = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  EXPECT_NO_THROW(SafetensorsFile{make(one("\"F32\"", "[1]", "[0,4]"), 4)});
  expect_refused(R"({"t":{"shape":[1],"data_offsets":[0,4]}})", 4, {"'t'", "no dtype"});
  expect_refused(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4, {"'t'", "no shape"});
  expect_refused(R"({"t":{"dtype":"F32","shape":[1]}})", 4, {"'t'", "no data_offsets"});
  expect_refused(one("\"F33\"", "[1]", "[0,4]"), 4, {"'t'", "unknown dtype", "F33"});
  expect_refused(one("4", "[1]", "[0,4]"), 4, {"unknown dtype 4"});
  expect_refused(one("\"F32\"", "1", "[0,4]"), 4, {"shape 1", "not an array"});
  for (const char* dim : {"-1", "1.0", "\"1\"", "null", "9223372036854775808", "1e2", "18446744073709551616"}) {
    expect_refused(one("\"F32\"", fmt::format("[{}]", dim), "[0,4]"), 4, {"'t'", "dimension", "not a whole number"});
  }
  expect_refused(one("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, {"[4294967296,4294967296]", "overflows"});
  expect_refused(one("\"F64\"", "[2305843009213693952]", "[0,4]"), 4, {"overflows"});
  for (const char* offsets : {"4", "[0]", "[0,4,8]", "{}"}) {
    expect_refused(one("\"F32\"", "[1]", offsets), 4, {"'t'", "not two numbers"});
  }
  for (const char* offsets : {"[4,0]", "[-4,0]", "[0,-1]", "[0.0,4]", "[\"0\",4]", "[0,18446744073709551615]"}) {
    expect_refused(one("\"F32\"", "[1]", offsets), 4, {"'t'", "no range"});
  }
  expect_refused(one("\"F32\"", "[2]", "[0,8]"), 4, {"'t'", "ends at byte 8", "holds 4", "truncated"});
  expect_refused(one("\"F32\"", "[2]", "[0,4]"), 4, {"'t'", "over 4 bytes", "take 8"});
  expect_refused(one("\"F16\"", "[1]", "[0,4]"), 4, {"over 4 bytes", "take 2"});
}

TEST_F(Safetensors, RefusesOverlapsAndGaps) {
  const auto two = [](std::string_view a, std::string_view b) {
    return fmt::format(
        R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
        a, b);
  };
  EXPECT_NO_THROW(SafetensorsFile{make(two("[0,4]", "[4,8]"), 8)});
  expect_refused(two("[0,4]", "[2,6]"), 6, {"'b'", "byte 2", "ends at 4"});
  expect_refused(two("[0,4]", "[0,4]"), 4, {"'b'", "byte 0", "ends at 4"});
  expect_refused(two("[0,4]", "[6,10]"), 10, {"2 bytes", "before tensor 'b'"});
  expect_refused(two("[1,5]", "[5,9]"), 9, {"1 bytes", "before tensor 'a'"});
  expect_refused(two("[0,4]", "[4,8]"), 11, {"3 bytes", "after the last tensor"});
}

TEST_F(Safetensors, WritesWholeOrNotAtAll) {
  write_safetensors(path_, std::vector{floats_tensor("a", {1}, {1})});
  const std::string before = read_file(path_);
  const std::vector<SafetensorsTensor> failing = {
      floats_tensor("a", {1}, {2}),
      {"b", DType::f32, {1}, [](size_t, std::span<std::byte>) { throw Error("no more"); }}};
  expect_error([&] { write_safetensors(path_, failing); }, {"no more"});
  EXPECT_EQ(read_file(path_), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()), 1);
  expect_error([&] { write_safetensors(dir_ / "absent" / "x", failing); }, {"absent"});
}

TEST_F(Safetensors, WritesLargeTensorsInPieces) {
  std::vector<float> values(700'001);  // some pieces and a rest
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  write_safetensors(path_, std::vector{floats_tensor("a", {700'001}, values), floats_tensor("b", {1}, {-1})});
  const SafetensorsFile file(path_);
  std::vector<float> back(values.size()), part(5);
  read_floats(file, "a", back);
  EXPECT_TRUE(back == values);
  read_floats(*file.find("a"), 699'996, part);
  EXPECT_EQ(part, std::vector<float>(values.end() - 5, values.end()));
  file.drop(*file.find("a"));  // what is dropped can be read again
  read_floats(file, "a", back);
  EXPECT_TRUE(back == values);
}

// Whatever byte is changed, the reader answers or refuses; it never reads outside the file.
TEST_F(Safetensors, SurvivesEveryFlippedBit) {
  write_safetensors(path_, std::vector{floats_tensor("a", {2, 1}, {1, 2}), floats_tensor("b", {}, {3})}, {{"k", "v"}});
  const std::string good = read_file(path_);
  std::fstream file_bytes(path_, std::ios::in | std::ios::out | std::ios::binary);
  const auto poke = [&](size_t at, int value) {
    file_bytes.seekp(static_cast<std::streamoff>(at));
    file_bytes.put(static_cast<char>(value)).flush();
  };
  for (size_t i = 0; i < good.size() * 8; ++i) {
    poke(i / 8, good[i / 8] ^ (1 << (i % 8)));
    try {
      const SafetensorsFile file(path_);
      for (const auto& [name, entry] : file.entries()) {
        EXPECT_LE(entry.data.size(), 12u);
        std::accumulate(entry.data.begin(), entry.data.end(), 0, [](int sum, std::byte b) { return sum + int(b); });
      }
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path_.string()), std::string::npos);
    }
    poke(i / 8, good[i / 8]);
  }
}

}  // namespace
}  // namespace ink
