#include "ink/serve/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "ink/text/unicode.h"

namespace ink {

using nlohmann::ordered_json;

namespace {

bool is_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const Character c = character_at(bytes, at);
    if (!c.valid()) return false;
    at += c.size;
  }
  return true;
}

void append(CompletionPiece from, CompletionPiece& to) {
  to.text += from.text;
  std::ranges::move(from.tokens, std::back_inserter(to.tokens));
  if (from.finish) to.finish = from.finish;
}

std::string random_id() {
  std::random_device random;
  return fmt::format("cmpl-{:08x}{:08x}{:08x}", random(), random(), random());
}

int64_t now() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string token_name(const Tokenizer& tokenizer, int32_t id) {
  const std::string_view bytes = tokenizer.token(id);
  if (is_utf8(bytes)) return std::string(bytes);
  std::string name = "bytes:";
  for (const char c : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return name;
}

CompletionText::CompletionText(const Tokenizer& tokenizer, std::vector<std::string> stops, bool keep_tokens)
    : tokenizer_(tokenizer), stops_(std::move(stops)), keep_tokens_(keep_tokens) {}

void CompletionText::echo(std::span<const int32_t> prompt) {
  // Where logprobs are wanted, the others come with theirs.
  for (const int32_t id : keep_tokens_ ? prompt.first(1) : prompt) add_prompt_token({id, {}});
}

void CompletionText::add_prompt_token(const GeneratedToken& token) { release(whole_.push(begin(token))); }

bool CompletionText::add(const GeneratedToken& token) {
  release(stops_.push(whole_.push(begin(token))));
  return !stops_.found();
}

void CompletionText::finish() {
  release(stops_.push(whole_.finish()));
  release(stops_.finish());
}

std::string_view CompletionText::begin(const GeneratedToken& token) {
  const std::string_view bytes = tokenizer_.token(token.id);
  if (keep_tokens_) waiting_.push_back({bytes_, {token.id, 0, token.logprobs}});
  bytes_ += static_cast<int64_t>(bytes.size());
  return bytes;
}

void CompletionText::release(std::string_view bytes) {
  constexpr uint32_t kReplacement = 0xfffd;
  for (size_t at = 0; at < bytes.size();) {
    place_tokens(certain_);
    const Character c = character_at(bytes, at);
    append_character(c.valid() ? c.code : kReplacement, piece_.text);
    at += c.size;
    certain_ += c.size;
    ++characters_;
  }
  place_tokens(certain_ - 1);
}

void CompletionText::place_tokens(int64_t last) {
  for (; !waiting_.empty() && waiting_.front().begin <= last; waiting_.pop_front()) {
    piece_.tokens.push_back(std::move(waiting_.front().token));
    piece_.tokens.back().offset = characters_;
  }
}

CompletionPiece CompletionText::take() { return std::exchange(piece_, {}); }

struct Completion::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool news = false;
  bool piecewise = false;  // whether pieces are news before the end: each wakes a thread up
  int64_t generated = 0;
};

struct Completion::Choice : TokenListener {
  Choice(std::shared_ptr<const ServedModel> m, std::shared_ptr<Shared> s, const CompletionRequest& request)
      : model(std::move(m)),
        shared(std::move(s)),
        text(*model->loaded.tokenizer, request.stops, request.logprobs >= 0) {}

  void prompt_token(const GeneratedToken& token) override {
    const std::lock_guard lock(shared->mutex);
    text.add_prompt_token(token);
    tell();
  }
  bool token(const GeneratedToken& token) override {
    const std::lock_guard lock(shared->mutex);
    ++shared->generated;
    const bool more = text.add(token);
    tell();
    return more;
  }
  void finished(Finish why) override {
    const std::lock_guard lock(shared->mutex);
    text.finish();
    finish = why;
    tell();
  }
  void tell() const {
    if (!shared->piecewise && !finish) return;
    shared->news = true;
    shared->changed.notify_one();
  }

  std::shared_ptr<const ServedModel> model;
  std::shared_ptr<Shared> shared;  // whose mutex guards what follows
  CompletionText text;
  std::optional<Finish> finish;  // not looked at yet
};

Completion::Completion(Engine& engine, std::shared_ptr<const ServedModel> model, CompletionRequest request)
    : engine_(engine),
      model_(std::move(model)),
      request_(std::move(request)),
      id_(random_id()),
      created_(now()),
      shared_(std::make_shared<Shared>()) {
  shared_->piecewise = request_.stream;
  std::vector<SequenceRequest> sequences;
  for (size_t p = 0; p < request_.prompts.size(); ++p) {
    for (int64_t i = 0; i < request_.n; ++i) {
      const auto choice = std::make_shared<Choice>(model_, shared_, request_);
      if (request_.echo) choice->text.echo(request_.prompts[p]);
      choices_.push_back(choice);
      SequenceRequest& s = sequences.emplace_back();
      s.prompt = request_.prompts[p];
      s.max_tokens = request_.max_tokens[p];
      s.sampler = request_.sampler;
      s.sampler.seed += static_cast<uint64_t>(i);
      s.stop_at_end_of_text = !request_.ignore_eos;
      s.logprobs = request_.logprobs;
      s.prompt_logprobs = request_.echo && request_.logprobs >= 0;
      s.listener = choice;
    }
  }
  unfinished_ = choices_.size();
  collected_.resize(choices_.size());
  call_ = engine_.submit(model_, std::move(sequences));
}

Completion::~Completion() {
  if (unfinished_ > 0) engine_.cancel(call_);
}

std::vector<CompletionPiece> Completion::wait(std::chrono::milliseconds timeout) {
  std::unique_lock lock(shared_->mutex);
  if (!shared_->changed.wait_for(lock, timeout, [&] { return shared_->news; })) return {};
  shared_->news = false;
  std::vector<CompletionPiece> pieces;
  for (const std::shared_ptr<Choice>& choice : choices_) {
    pieces.push_back(choice->text.take());
    pieces.back().finish = std::exchange(choice->finish, {});
    if (pieces.back().finish) --unfinished_;
  }
  for (const CompletionPiece& piece : pieces) {
    if (piece.finish == Finish::failed) throw HttpError(500, "the server is out of memory");
    if (piece.finish == Finish::cancelled) throw HttpError(503, "the server has stopped", "", "shutting_down");
  }
  return pieces;
}

void Completion::collect(std::vector<CompletionPiece> pieces) {
  for (size_t i = 0; i < pieces.size(); ++i) append(std::move(pieces[i]), collected_[i]);
}

ordered_json Completion::head() const {
  return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", model_->name}};
}

ordered_json Completion::logprobs_json(const std::vector<CompletionToken>& tokens) const {
  constexpr float kLeast = -9999;  // JSON has no infinity
  const Tokenizer& tokenizer = *model_->loaded.tokenizer;
  ordered_json names = ordered_json::array(), own = names, top = names, offsets = names, ids = names, listed = names;
  for (const CompletionToken& token : tokens) {
    names.push_back(token_name(tokenizer, token.id));
    offsets.push_back(token.offset);
    ids.push_back(token.id);
    if (token.logprobs.empty()) {
      for (ordered_json* list : {&own, &top, &listed}) list->push_back(nullptr);
      continue;
    }
    ordered_json by_name = ordered_json::object(), alternatives = ordered_json::array();
    for (size_t i = 1; i < token.logprobs.size(); ++i) {
      const TokenLogprob& p = token.logprobs[i];
      const std::string name = token_name(tokenizer, p.id);
      by_name[name] = std::max(p.logprob, kLeast);
      alternatives.push_back({{"id", p.id}, {"token", name}, {"logprob", std::max(p.logprob, kLeast)}});
    }
    own.push_back(std::max(token.logprobs[0].logprob, kLeast));
    by_name[names.back().get<std::string>()] = own.back();
    top.push_back(std::move(by_name));
    listed.push_back(std::move(alternatives));
  }
  ordered_json result = {{"tokens", names}, {"token_logprobs", own}, {"top_logprobs", top}, {"text_offset", offsets}};
  if (request_.return_token_ids) {
    result["token_ids"] = std::move(ids);
    result["alternatives"] = std::move(listed);
  }
  return result;
}

ordered_json Completion::choice_json(size_t index, const CompletionPiece& piece) const {
  ordered_json reason;
  if (piece.finish) reason = *piece.finish == Finish::length ? "length" : "stop";
  return {{"text", piece.text},
          {"index", index},
          {"logprobs", request_.logprobs >= 0 ? logprobs_json(piece.tokens) : ordered_json()},
          {"finish_reason", reason}};
}

ordered_json Completion::usage() const {
  int64_t prompt = 0;
  for (const std::vector<int32_t>& ids : request_.prompts) prompt += static_cast<int64_t>(ids.size());
  const std::lock_guard lock(shared_->mutex);
  return {{"prompt_tokens", prompt},
          {"completion_tokens", shared_->generated},
          {"total_tokens", prompt + shared_->generated}};
}

ordered_json Completion::whole() const {
  ordered_json answer = head();
  answer["choices"] = ordered_json::array();
  for (size_t i = 0; i < collected_.size(); ++i) answer["choices"].push_back(choice_json(i, collected_[i]));
  answer["usage"] = usage();
  return answer;
}

std::vector<ordered_json> Completion::chunks(const std::vector<CompletionPiece>& pieces) const {
  std::vector<ordered_json> chunks;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].text.empty() && pieces[i].tokens.empty() && !pieces[i].finish) continue;
    ordered_json& chunk = chunks.emplace_back(head());
    chunk["choices"] = ordered_json::array({choice_json(i, pieces[i])});
    if (request_.include_usage) chunk["usage"] = nullptr;
  }
  return chunks;
}

ordered_json Completion::usage_chunk() const {
  ordered_json chunk = head();
  chunk["choices"] = ordered_json::array();
  chunk["usage"] = usage();
  return chunk;
}

}  // namespace ink
