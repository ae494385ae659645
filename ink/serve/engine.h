// Many texts at a time from one model: sequences join and leave the batch between tokens.
//
// Requests come from any thread and wait in a queue. One thread computes: it lets them join the batch (batch.h), steps,
// and tells their listeners. A sequence's tokens depend on its request alone: the library's bits do not depend on what
// else is in a batch, nor on how a prompt is cut.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ink/base/check.h"
#include "ink/infer/generator.h"
#include "ink/infer/model.h"
#include "ink/serve/metrics.h"

namespace ink {

// What is served: replaced as a whole by a reload.
struct ServedModel {
  std::shared_ptr<void> owner;  // of pool and Ops; before the model, which it outlives
  ThreadPool* pool = nullptr;   // of the model's Ops, for sampling
  LoadedModel loaded;
  std::string name;
  int64_t created = 0;  // seconds since 1970
  int64_t number = 0;   // set by the engine: which one it is

  int64_t context() const { return loaded.model->options().context; }
  // The ids that are drawn and may be in a prompt: a tokenizer may have fewer than the model.
  int64_t vocab() const { return loaded.tokenizer->vocab_size(); }
};

enum class Finish : uint8_t {
  stop,       // the end of text, or the listener had enough
  length,     // max_tokens
  cancelled,  // by cancel() or the engine's end
  failed,     // no memory
};

// Told what becomes of a sequence, on the engine's thread: quickly, please.
class TokenListener {
 public:
  virtual ~TokenListener() = default;
  // The logprobs of a prompt's token, from the second on; only with prompt_logprobs.
  virtual void prompt_token(const GeneratedToken&) {}
  // False to stop.
  virtual bool token(const GeneratedToken& token) = 0;
  // Once, at the end.
  virtual void finished(Finish finish) = 0;
};

struct SequenceRequest {
  std::vector<int32_t> prompt;  // not empty, ids in [0, vocab())
  int64_t max_tokens = 16;      // prompt and these fit the context
  SamplerOptions sampler;
  bool stop_at_end_of_text = true;
  int64_t logprobs = -1;         // as GenerateOptions has it
  bool prompt_logprobs = false;  // takes a step for each token of the prompt
  std::shared_ptr<TokenListener> listener;
};

struct EngineOptions {
  int64_t running = 16;        // sequences that generate at a time
  int64_t recent = 16;         // sequences kept after their end, for prompts that begin alike
  int64_t queue = 256;         // sequences that wait
  int64_t prompt_tokens = 32;  // computed in a step beside running sequences
};

// More sequences than the queue has room for.
class QueueFull : public Error {
 public:
  using Error::Error;
};

struct EngineStats {
  int64_t running = 0, waiting = 0, recent = 0;  // sequences
  int64_t pages = 0, free_pages = 0;
  int64_t steps = 0, sequences = 0, prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0;  // since the start
  int64_t reloads = 0;
  Histogram queued, first_token, token;  // seconds until it joined, until its first token, between tokens
};

class Engine {
 public:
  using Load = std::function<std::shared_ptr<ServedModel>()>;

  // The options of a model that an engine can use: room for its sequences.
  static InferenceOptions inference_options(const EngineOptions& options, int64_t context);

  // Loads the model on the engine's thread, which is the only one to use it. Throws what load throws.
  Engine(const EngineOptions& options, Load load);
  ~Engine();  // cancels what runs
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  std::shared_ptr<const ServedModel> model() const;

  // Queues sequences for a model that model() gave, all or none. They are taken in turns with those of other calls: one
  // call with many sequences does not hold up others. Returns a number for cancel(). Throws QueueFull, and UsageError
  // for sampling options that cannot be.
  uint64_t submit(const std::shared_ptr<const ServedModel>& model, std::vector<SequenceRequest> sequences);
  // Ends what is left of a call's sequences. Their listeners may be called until finished() is.
  void cancel(uint64_t call);

  // Loads anew, between two steps; sequences of the old model finish first, new ones wait for that. done gets an
  // error's text, or none; the old model then stays.
  void reload(std::function<void(const std::string& error)> done);

  EngineStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ink
