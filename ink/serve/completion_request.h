// What POST /v1/completions asks for, read from JSON and checked: every field has its range (docs/api.md).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "ink/infer/sampler.h"
#include "ink/serve/http_server.h"
#include "ink/text/tokenizer.h"

namespace ink {

struct CompletionRequest {
  std::vector<std::vector<int32_t>> prompts;  // none empty
  int64_t n = 1;                              // completions of each
  std::vector<int64_t> max_tokens;            // of each prompt's
  SamplerOptions sampler;                     // its seed is the first completion's; they count up
  std::vector<std::string> stops;
  int64_t logprobs = -1;  // alternatives; -1: none at all
  bool echo = false;
  bool ignore_eos = false;
  bool return_token_ids = false;
  bool stream = false;
  bool include_usage = false;  // at the end of a stream
};

// What a request is checked against.
struct CompletionLimits {
  std::string model;     // what it is called
  int64_t context = 0;   // for a prompt and what follows it
  int64_t choices = 64;  // prompts times n
  uint64_t seed = 0;     // for requests without one
};

// Throws HttpError, which names the field.
CompletionRequest parse_completion(std::string_view body, const Tokenizer& tokenizer, const CompletionLimits& limits);

// The ids of text in {"text": ...}, and the text of ids in {"tokens": ...}. Throws HttpError.
std::vector<int32_t> parse_tokenize(std::string_view body, const Tokenizer& tokenizer);
std::vector<int32_t> parse_detokenize(std::string_view body, const Tokenizer& tokenizer);

}  // namespace ink
