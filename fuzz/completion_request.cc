// Requests to the HTTP interface: the JSON of completions, tokenize and detokenize.
#include "ink/serve/completion_request.h"

#include "fuzz/fuzz.h"

namespace {

// Refused as a client's fault, or taken.
template <class Parse>
bool takes(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const ink::HttpError& error) {
    ink::fuzz::expect(error.status() == 400 || error.status() == 404, "a bad request is the client's fault");
    ink::fuzz::expect(!ink::error_response(error).body.empty(), "an error says something");
    return false;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ink;
  static const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  const std::string_view body = fuzz::text_of(data, size);
  const CompletionLimits limits = {.model = "m", .context = 96, .choices = 8, .seed = 1};
  takes([&] {
    const CompletionRequest r = parse_completion(body, *tokenizer, limits);
    r.sampler.validate();
    Sampler(r.sampler, tokenizer->vocab_size());
    fuzz::expect(!r.prompts.empty() && r.max_tokens.size() == r.prompts.size(), "every prompt has its limit");
    fuzz::expect(r.n >= 1 && r.n * static_cast<int64_t>(r.prompts.size()) <= limits.choices, "choices are limited");
    for (size_t i = 0; i < r.prompts.size(); ++i) {
      fuzz::expect(!r.prompts[i].empty() && r.max_tokens[i] >= 0, "no prompt is empty");
      fuzz::expect(static_cast<int64_t>(r.prompts[i].size()) + r.max_tokens[i] <= limits.context,
                   "all fits the context");
      for (const int32_t id : r.prompts[i]) fuzz::expect(id >= 0 && id < 256, "ids are in the vocabulary");
    }
  });
  takes([&] { parse_tokenize(body, *tokenizer); });
  takes([&] { parse_detokenize(body, *tokenizer); });
  return 0;
}
