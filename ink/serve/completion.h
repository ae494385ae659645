// The completions of one request while they grow: written by the engine's thread, read by the connection's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ink/serve/completion_request.h"
#include "ink/serve/engine.h"

namespace ink {

// A token of a completion's text.
struct CompletionToken {
  int32_t id = 0;
  int64_t offset = 0;                  // characters of the completion's text before it
  std::vector<TokenLogprob> logprobs;  // its own, then the likeliest ones'; empty for the first of a prompt
};

// What a completion has come to since it was looked at last. Text is UTF-8, whatever the tokens are.
struct CompletionPiece {
  std::string text;
  std::vector<CompletionToken> tokens;  // those that begin in the text up to its end; only where logprobs are wanted
  std::optional<Finish> finish;         // has come to its end
};

// Makes a completion's text from its tokens: only what is certain, which is whole characters before any stop text.
class CompletionText {
 public:
  CompletionText(const Tokenizer& tokenizer, std::vector<std::string> stops, bool keep_tokens);

  // The prompt, for echo, which may hold stop texts. Before any token. Where tokens are kept, only the first of them:
  // add_prompt_token() has the others.
  void echo(std::span<const int32_t> prompt);
  void add_prompt_token(const GeneratedToken& token);
  // False once a stop text is there.
  bool add(const GeneratedToken& token);
  void finish();
  // What has become certain since the last call.
  CompletionPiece take();

 private:
  std::string_view begin(const GeneratedToken& token);  // its bytes
  void release(std::string_view bytes);
  // All the characters so far come before the tokens that begin up to this byte.
  void place_tokens(int64_t last);

  const Tokenizer& tokenizer_;
  Utf8Stream whole_;
  StopStrings stops_;
  bool keep_tokens_;
  int64_t bytes_ = 0;                     // of all tokens so far
  int64_t certain_ = 0, characters_ = 0;  // bytes and characters of text that were released
  struct Placed {
    int64_t begin;  // byte
    CompletionToken token;
  };
  std::deque<Placed> waiting_;  // begin in text that is not certain yet
  CompletionPiece piece_;
};

class Completion {
 public:
  // Queues the request. Throws QueueFull.
  Completion(Engine& engine, std::shared_ptr<const ServedModel> model, CompletionRequest request);
  ~Completion();  // cancels what runs
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Waits until there is something new, but at most so long. The pieces of all choices, in their order; an empty list
  // at the timeout. Throws HttpError where one failed.
  std::vector<CompletionPiece> wait(std::chrono::milliseconds timeout);
  bool finished() const { return unfinished_ == 0; }

  // Adds what wait() gave to the whole answer.
  void collect(std::vector<CompletionPiece> pieces);
  // The answer, once all is collected; or an answer's events for what wait() gave, and the event that ends them.
  nlohmann::ordered_json whole() const;
  std::vector<nlohmann::ordered_json> chunks(const std::vector<CompletionPiece>& pieces) const;
  nlohmann::ordered_json usage_chunk() const;

  const CompletionRequest& request() const { return request_; }

 private:
  struct Choice;
  struct Shared;

  nlohmann::ordered_json head() const;
  nlohmann::ordered_json choice_json(size_t index, const CompletionPiece& piece) const;
  nlohmann::ordered_json logprobs_json(const std::vector<CompletionToken>& tokens) const;
  nlohmann::ordered_json usage() const;

  Engine& engine_;
  std::shared_ptr<const ServedModel> model_;
  CompletionRequest request_;
  std::string id_;
  int64_t created_;
  std::shared_ptr<Shared> shared_;
  std::vector<std::shared_ptr<Choice>> choices_;
  uint64_t call_ = 0;
  size_t unfinished_;
  std::vector<CompletionPiece> collected_;
};

// A token's text where it is UTF-8, else "bytes:\xe2\x80".
std::string token_name(const Tokenizer& tokenizer, int32_t id);

}  // namespace ink
