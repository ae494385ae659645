// Writes the files of Hugging Face tokenizers. The text is put together by hand: vocabularies must stay in the order of
// their ids, and only strings need a library's care.
#include <nlohmann/json.hpp>

#include "ink/base/check.h"
#include "ink/base/file.h"
#include "ink/text/byte_level.h"
#include "ink/text/kinds.h"
#include "ink/text/unicode.h"
#include "ink/text/vocabulary.h"

namespace ink {

namespace {

std::string quote(std::string_view text) { return nlohmann::json(text).dump(); }

struct Parts {
  std::string added_tokens = "[]";
  std::string pre_tokenizer;
  std::string post_processor = "null";
  std::string decoder;
  std::string model;
};

void write_tokenizer_json(const fs::path& directory, const Parts& parts) {
  write_file(directory / "tokenizer.json",
             fmt::format("{{\n"
                         "  \"version\": \"1.0\",\n"
                         "  \"truncation\": null,\n"
                         "  \"padding\": null,\n"
                         "  \"added_tokens\": {},\n"
                         "  \"normalizer\": null,\n"
                         "  \"pre_tokenizer\": {},\n"
                         "  \"post_processor\": {},\n"
                         "  \"decoder\": {},\n"
                         "  \"model\": {}\n"
                         "}}\n",
                         parts.added_tokens, parts.pre_tokenizer, parts.post_processor, parts.decoder, parts.model));
}

// {"token": id, ...}, one a line.
std::string vocab_json(std::span<const std::string> quoted) {
  std::string text = "{";
  for (size_t id = 0; id < quoted.size(); ++id) {
    text += fmt::format("{}\n      {}: {}", id == 0 ? "" : ",", quoted[id], id);
  }
  return text + "\n    }";
}

std::string bpe_model(const std::string& vocab, const std::string& merges, bool ignore_merges) {
  return fmt::format(R"({{
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": {},
    "vocab": {},
    "merges": {}
  }})",
                     ignore_merges, vocab, merges);
}

constexpr std::string_view kByteLevel =
    R"({{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": {}, "use_regex": {}}})";

std::string byte_level(bool trim_offsets, bool use_regex) {
  return fmt::format(fmt::runtime(kByteLevel), trim_offsets, use_regex);
}

// The fast class reads tokenizer.json as it is, whatever the model. Without clean-up, decoding changes no space.
void write_fast_config(const fs::path& directory) {
  write_file(directory / "tokenizer_config.json",
             "{\n  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
}

void write_gpt2_config(const fs::path& directory, const std::string& end_of_text) {
  std::string tokens;
  if (!end_of_text.empty()) {
    for (const char* key : {"bos_token", "eos_token", "unk_token"}) {
      tokens += fmt::format("  \"{}\": {},\n", key, quote(end_of_text));
    }
  }
  write_file(directory / "tokenizer_config.json",
             fmt::format("{{\n  \"add_prefix_space\": false,\n{}  \"clean_up_tokenization_spaces\": false,\n"
                         "  \"tokenizer_class\": \"GPT2Tokenizer\"\n}}\n",
                         tokens));
}

}  // namespace

void save_bpe(const BpeVocab& vocab, const fs::path& directory) {
  make_directories(directory);
  const std::vector<std::string> spelled = spell(vocab).tokens;
  std::string added = "[";
  for (const auto& [text, id] : vocab.special) {
    added += fmt::format(R"({}
    {{"id": {}, "content": {}, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, )"
                         R"("special": true}})",
                         added.size() == 1 ? "" : ",", id, quote(text));
  }
  added += vocab.special.empty() ? "]" : "\n  ]";

  std::string merges = "[";
  std::string merges_txt = "#version: 0.2\n";
  for (const BpeVocab::Merge& m : vocab.merges) {
    const std::string pair =
        fmt::format("{} {}", spelled[static_cast<size_t>(m.left)], spelled[static_cast<size_t>(m.right)]);
    merges += fmt::format("{}\n      {}", merges.size() == 1 ? "" : ",", quote(pair));
    merges_txt += pair + "\n";
  }
  merges += vocab.merges.empty() ? "]" : "\n    ]";

  std::vector<std::string> quoted;
  for (const std::string& token : spelled) quoted.push_back(quote(token));
  const std::string tokens = vocab_json(quoted);
  write_tokenizer_json(directory, {.added_tokens = added,
                                   .pre_tokenizer = byte_level(true, true),
                                   .post_processor = byte_level(false, true),
                                   .decoder = byte_level(true, true),
                                   .model = bpe_model(tokens, merges, vocab.ignore_merges)});
  write_file(directory / "vocab.json", tokens + "\n");
  write_file(directory / "merges.txt", merges_txt);
  write_gpt2_config(directory, vocab.end_of_text);
}

// A word-level model over pieces of one character. A byte that is not UTF-8 is spelled <0xNN>, which the ByteFallback
// decoder turns back; no character is spelled so, as each of them is a piece of its own.
void save_char(std::span<const uint32_t> codes, const fs::path& directory) {
  make_directories(directory);
  std::vector<std::string> quoted;
  for (const uint32_t code : codes) {
    std::string text;
    if (code >= kInvalidByte) {
      text = fmt::format("<0x{:02X}>", code - kInvalidByte);
    } else {
      append_character(code, text);
    }
    quoted.push_back(quote(text));
  }
  write_tokenizer_json(
      directory,
      {.pre_tokenizer =
           R"({"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false})",
       .decoder = R"({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]})",
       .model = fmt::format("{{\n    \"type\": \"WordLevel\",\n    \"vocab\": {},\n    \"unk_token\": \"[UNK]\"\n  }}",
                            vocab_json(quoted))});
  write_fast_config(directory);
}

// A byte-level BPE that merges nothing.
void save_byte(const fs::path& directory) {
  make_directories(directory);
  std::vector<std::string> quoted;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(static_cast<uint8_t>(byte));
    quoted.push_back(quote(to_byte_level({&c, 1})));
  }
  write_tokenizer_json(directory, {.pre_tokenizer = byte_level(true, false),
                                   .decoder = byte_level(true, false),
                                   .model = bpe_model(vocab_json(quoted), "[]", false)});
  write_fast_config(directory);
}

}  // namespace ink
