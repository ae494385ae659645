#include "ink/serve/completion_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "ink/base/check.h"
#include "ink/base/suggest.h"
#include "ink/format/json.h"
#include "ink/infer/generator.h"

namespace ink {

using nlohmann::json;

namespace {

constexpr int64_t kMostAlternatives = 20;
constexpr int64_t kMostLogprobs = 1 << 18;  // in an answer: each takes about 60 bytes of it
constexpr size_t kMostStops = 16, kLongestStop = 1024, kMostBiases = 1024;

template <class... Args>
[[noreturn]] void refuse_field(std::string_view field, fmt::format_string<Args...> format, Args&&... args) {
  throw HttpError(400, fmt::format("'{}' {}", field, fmt::format(format, std::forward<Args>(args)...)),
                  std::string(field));
}

// The fields of a JSON object. null stands for an absent one.
class Fields {
 public:
  Fields(std::string_view body, std::initializer_list<std::string_view> names) {
    try {
      object_ = parse_json_object("body", "the request", body);
    } catch (const Error& error) {
      throw HttpError(400, error.what());
    }
    for (const auto& [key, value] : object_.items()) {
      if (std::ranges::find(names, key) != names.end()) continue;
      const std::vector<std::string_view> known(names);
      const std::string name = short_dump(key), near = key.size() > 64 ? "" : nearest(key, known);
      throw HttpError(400,
                      fmt::format("there is no field {}{}", name, near.empty() ? "" : ", did you mean " + near + "?"),
                      key.substr(0, 64));
    }
  }

  const json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t whole(const char* name, int64_t otherwise, int64_t min, int64_t max) const {
    const json* value = find(name);
    if (value == nullptr) return otherwise;
    const bool too_large = value->is_number_unsigned() && whole_number(*value) < 0;
    const int64_t number = value->is_number_integer() && !too_large ? value->get<int64_t>() : 0;
    if (!value->is_number_integer() || too_large || number < min || number > max) {
      refuse_field(name, "must be a whole number from {} to {}, not {}", min, max, short_dump(*value));
    }
    return number;
  }

  float number(const char* name, float otherwise, double min, double max) const {
    const json* value = find(name);
    if (value == nullptr) return otherwise;
    // !(>=): not NaN either.
    if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
      refuse_field(name, "must be a number from {} to {}, not {}", min, max, short_dump(*value));
    }
    return value->get<float>();
  }

  bool flag(const char* name) const {
    const json* value = find(name);
    if (value != nullptr && !value->is_boolean())
      refuse_field(name, "must be true or false, not {}", short_dump(*value));
    return value != nullptr && value->get<bool>();
  }

 private:
  json object_;
};

int32_t token_id(const char* field, const json& value, const Tokenizer& tokenizer) {
  const int64_t id = whole_number(value);
  if (id < 0 || id >= tokenizer.vocab_size()) {
    refuse_field(field, "holds {}; tokens are 0 to {}", short_dump(value), tokenizer.vocab_size() - 1);
  }
  return static_cast<int32_t>(id);
}

std::vector<int32_t> token_ids(const char* field, const json& array, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (const json& value : array) ids.push_back(token_id(field, value, tokenizer));
  return ids;
}

std::vector<int32_t> encode(const char* field, const std::string& text, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  try {
    tokenizer.encode(text, ids);
  } catch (const Error& error) {
    refuse_field(field, "cannot be encoded: {}", error.what());
  }
  return ids;
}

std::vector<std::vector<int32_t>> read_prompts(const json* prompt, const Tokenizer& tokenizer, int64_t most) {
  if (prompt == nullptr) return {default_prompt(tokenizer)};
  const auto of_text = [&](const json& text) {
    std::vector<int32_t> ids = encode("prompt", text.get<std::string>(), tokenizer);
    return ids.empty() ? default_prompt(tokenizer) : ids;
  };
  if (prompt->is_string()) return {of_text(*prompt)};
  if (!prompt->is_array() || prompt->empty()) {
    refuse_field("prompt", "must be a text, a list of texts, a list of token ids, or a list of such lists");
  }
  if (prompt->front().is_number()) return {token_ids("prompt", *prompt, tokenizer)};
  if (static_cast<int64_t>(prompt->size()) > most) {
    refuse_field("prompt", "holds {} prompts; at most {} can be asked for at a time", prompt->size(), most);
  }
  std::vector<std::vector<int32_t>> prompts;
  for (const json& one : *prompt) {
    if (one.is_string()) {
      prompts.push_back(of_text(one));
    } else if (one.is_array() && !one.empty()) {
      prompts.push_back(token_ids("prompt", one, tokenizer));
    } else {
      refuse_field("prompt", "holds {}, neither a text nor a list of token ids", short_dump(one));
    }
  }
  return prompts;
}

std::vector<std::string> read_stops(const json* stop) {
  if (stop == nullptr) return {};
  const json list = stop->is_array() ? *stop : json::array({*stop});
  if (list.size() > kMostStops)
    refuse_field("stop", "holds {} texts; at most {} are possible", list.size(), kMostStops);
  std::vector<std::string> stops;
  for (const json& text : list) {
    if (!text.is_string()) refuse_field("stop", "must be a text or a list of texts, not {}", short_dump(text));
    stops.push_back(text.get<std::string>());
    if (stops.back().size() > kLongestStop) refuse_field("stop", "holds a text longer than {} bytes", kLongestStop);
  }
  return stops;
}

std::map<int32_t, float> read_biases(const json* biases, const Tokenizer& tokenizer) {
  std::map<int32_t, float> result;
  if (biases == nullptr) return result;
  if (!biases->is_object()) refuse_field("logit_bias", "must be an object of token ids and numbers");
  if (biases->size() > kMostBiases) refuse_field("logit_bias", "has more than {} tokens", kMostBiases);
  for (const auto& [key, value] : biases->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= tokenizer.vocab_size()) {
      refuse_field("logit_bias", "has the key {}; tokens are 0 to {}", short_dump(key), tokenizer.vocab_size() - 1);
    }
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100)) {
      refuse_field("logit_bias", "must be from -100 to 100, not {}", short_dump(value));
    }
    result[id] = value.get<float>();
  }
  return result;
}

SamplerOptions read_sampler(const Fields& fields, const Tokenizer& tokenizer, uint64_t seed) {
  SamplerOptions s;
  s.temperature = fields.number("temperature", 1, 0, 100);
  s.top_k = fields.whole("top_k", 0, -1, std::numeric_limits<int32_t>::max());
  if (s.top_k < 0) s.top_k = 0;
  // The least there is keeps the likeliest token, as 0 should.
  s.top_p = std::max(fields.number("top_p", 1, 0, 1), std::numeric_limits<float>::min());
  s.min_p = fields.number("min_p", 0, 0, 1);
  s.repetition_penalty = fields.number("repetition_penalty", 1, 0.01, 100);
  s.presence_penalty = fields.number("presence_penalty", 0, -2, 2);
  s.frequency_penalty = fields.number("frequency_penalty", 0, -2, 2);
  s.logit_bias = read_biases(fields.find("logit_bias"), tokenizer);
  s.seed = seed;
  if (const json* given = fields.find("seed")) {
    if (!given->is_number_integer()) refuse_field("seed", "must be a whole number, not {}", short_dump(*given));
    s.seed = given->is_number_unsigned() ? given->get<uint64_t>() : static_cast<uint64_t>(given->get<int64_t>());
  }
  return s;
}

// How many tokens each prompt may get.
std::vector<int64_t> read_max_tokens(const Fields& fields, const CompletionRequest& request, int64_t context) {
  constexpr int64_t kUsual = 16;
  const int64_t wanted = fields.whole("max_tokens", -1, 0, std::numeric_limits<int32_t>::max());
  std::vector<int64_t> result;
  for (const std::vector<int32_t>& prompt : request.prompts) {
    const auto size = static_cast<int64_t>(prompt.size());
    if (size + std::max<int64_t>(wanted, 0) > context) {
      throw HttpError(400,
                      fmt::format("the model's context is {} tokens; the prompt has {} and 'max_tokens' adds {}",
                                  context, size, std::max<int64_t>(wanted, 0)),
                      size > context ? "prompt" : "max_tokens", "context_length_exceeded");
    }
    result.push_back(wanted >= 0 ? wanted : std::min(kUsual, context - size));
  }
  return result;
}

void limit_logprobs(const CompletionRequest& request) {
  if (request.logprobs < 0) return;
  int64_t tokens = 0;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    tokens += request.max_tokens[i] + (request.echo ? static_cast<int64_t>(request.prompts[i].size()) : 0);
  }
  const int64_t all = tokens * request.n * (request.logprobs + 1);
  if (all > kMostLogprobs)
    refuse_field("logprobs", "would be {} for all texts; at most {} are possible", all, kMostLogprobs);
}

void read_stream_options(const Fields& fields, CompletionRequest& request) {
  request.stream = fields.flag("stream");
  const json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!request.stream || !options->is_object()) refuse_field("stream_options", "is an object, for streams only");
  for (const auto& [key, value] : options->items()) {
    if (key == "include_obfuscation" && value == false) continue;  // what the openai package may send
    if (key != "include_usage" || !value.is_boolean()) {
      refuse_field("stream_options", "can hold include_usage, true or false; not {}", short_dump(key));
    }
    request.include_usage = value.get<bool>();
  }
}

void refuse_unsupported(const Fields& fields, const CompletionRequest& request, const CompletionLimits& limits) {
  if (const json* model = fields.find("model")) {
    if (!model->is_string()) refuse_field("model", "must be a text, not {}", short_dump(*model));
    if (*model != limits.model) {
      throw HttpError(404,
                      fmt::format("there is no model {}; this server has \"{}\"", short_dump(*model), limits.model),
                      "model", "model_not_found");
    }
  }
  const json* suffix = fields.find("suffix");
  if (suffix != nullptr && !(suffix->is_string() && suffix->get_ref<const std::string&>().empty())) {
    refuse_field("suffix", "is not possible with this model");
  }
  if (const json* best = fields.find("best_of"); best != nullptr && *best != request.n) {
    refuse_field("best_of", "can only be n, which is {}", request.n);
  }
}

}  // namespace

CompletionRequest parse_completion(std::string_view body, const Tokenizer& tokenizer, const CompletionLimits& limits) {
  const Fields fields(body, {"model",
                             "prompt",
                             "n",
                             "best_of",
                             "max_tokens",
                             "temperature",
                             "top_k",
                             "top_p",
                             "min_p",
                             "repetition_penalty",
                             "presence_penalty",
                             "frequency_penalty",
                             "logit_bias",
                             "seed",
                             "stop",
                             "logprobs",
                             "echo",
                             "suffix",
                             "stream",
                             "stream_options",
                             "ignore_eos",
                             "return_token_ids",
                             "user"});
  CompletionRequest request;
  request.n = fields.whole("n", 1, 1, limits.choices);
  refuse_unsupported(fields, request, limits);
  request.logprobs = fields.whole("logprobs", -1, 0, kMostAlternatives);
  request.echo = fields.flag("echo");
  request.ignore_eos = fields.flag("ignore_eos");
  request.return_token_ids = fields.flag("return_token_ids");
  read_stream_options(fields, request);
  request.stops = read_stops(fields.find("stop"));
  request.sampler = read_sampler(fields, tokenizer, limits.seed);
  request.prompts = read_prompts(fields.find("prompt"), tokenizer, limits.choices / request.n);
  request.max_tokens = read_max_tokens(fields, request, limits.context);
  limit_logprobs(request);
  return request;
}

std::vector<int32_t> parse_tokenize(std::string_view body, const Tokenizer& tokenizer) {
  const Fields fields(body, {"text"});
  const json* text = fields.find("text");
  if (text == nullptr || !text->is_string()) refuse_field("text", "must be a text");
  return encode("text", text->get<std::string>(), tokenizer);
}

std::vector<int32_t> parse_detokenize(std::string_view body, const Tokenizer& tokenizer) {
  const Fields fields(body, {"tokens"});
  const json* tokens = fields.find("tokens");
  if (tokens == nullptr || !tokens->is_array()) refuse_field("tokens", "must be a list of token ids");
  return token_ids("tokens", *tokens, tokenizer);
}

}  // namespace ink
