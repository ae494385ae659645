#include "ink/serve/api.h"

#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>

#include "ink/serve/completion.h"
#include "ink/serve/completion_request.h"

namespace ink {

using nlohmann::ordered_json;
using std::chrono::milliseconds;

namespace {

// How often it is looked whether a client is still there.
constexpr milliseconds kLook{200};

std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string event(const ordered_json& value) { return "data: " + dump(value) + "\n\n"; }

uint64_t random_seed() {
  std::random_device random;
  return uint64_t{random()} << 32 | random();
}

void stream_completion(Completion& completion, BodySink& sink) {
  try {
    while (!completion.finished()) {
      std::string events;
      for (const ordered_json& chunk : completion.chunks(completion.wait(kLook))) events += event(chunk);
      if (!(events.empty() ? sink.connected() : sink.write(events))) return;
    }
    if (completion.request().include_usage) sink.write(event(completion.usage_chunk()));
  } catch (const HttpError& error) {
    sink.write("data: " + error_response(error).body + "\n\n");
  } catch (const std::exception&) {  // no memory
    sink.write("data: " + error_response(HttpError(500, "the server failed")).body + "\n\n");
  }
  sink.write("data: [DONE]\n\n");
}

HttpResponse models(const ServedModel& model, bool list) {
  const ordered_json object = {{"id", model.name},      {"object", "model"},          {"created", model.created},
                               {"owned_by", "inkling"}, {"context", model.context()}, {"vocab", model.vocab()}};
  const ordered_json all = {{"object", "list"}, {"data", ordered_json::array({object})}};
  return {.body = dump(list ? all : object)};
}

// What needs a request's body.
class Api {
 public:
  explicit Api(Engine& engine) : engine_(engine) {}

  HttpResponse complete(const HttpRequest& request) {
    const std::shared_ptr<Completion> completion = start(request);
    if (completion->request().stream) {
      return {.content_type = "text/event-stream",
              .stream = [completion](BodySink& sink) { stream_completion(*completion, sink); }};
    }
    while (!completion->finished()) {
      completion->collect(completion->wait(kLook));
      if (!request.connected()) throw HttpError(400, "the client has gone");
    }
    const std::lock_guard lock(large_);
    return {.body = dump(completion->whole())};
  }

  HttpResponse tokenize(const HttpRequest& request) {
    const std::shared_ptr<const ServedModel> model = engine_.model();
    const std::lock_guard lock(large_);
    const std::vector<int32_t> ids = parse_tokenize(request.body, *model->loaded.tokenizer);
    ordered_json texts = ordered_json::array();
    for (const int32_t id : ids) texts.push_back(token_name(*model->loaded.tokenizer, id));
    return {.body = dump({{"tokens", ids}, {"texts", std::move(texts)}, {"count", ids.size()}})};
  }

  HttpResponse detokenize(const HttpRequest& request) {
    const std::shared_ptr<const ServedModel> model = engine_.model();
    const Tokenizer& tokenizer = *model->loaded.tokenizer;
    const std::lock_guard lock(large_);
    return {.body = dump({{"text", tokenizer.decode(parse_detokenize(request.body, tokenizer))}})};
  }

 private:
  std::shared_ptr<Completion> start(const HttpRequest& request) {
    const std::shared_ptr<const ServedModel> model = engine_.model();
    const CompletionLimits limits = {.model = model->name, .context = model->context(), .seed = random_seed()};
    CompletionRequest asked;
    {
      const std::lock_guard lock(large_);
      asked = parse_completion(request.body, *model->loaded.tokenizer, limits);
    }
    try {
      return std::make_shared<Completion>(engine_, model, std::move(asked));
    } catch (const QueueFull& full) {
      HttpError error(429, full.what(), "", "queue_full");
      error.retry_after = 1;
      throw error;
    }
  }

  Engine& engine_;
  std::mutex large_;  // JSON in memory is many times its text: one body or answer at a time, however many clients
};

}  // namespace

void add_api_routes(HttpServer& server, Engine& engine) {
  const auto api = std::make_shared<Api>(engine);
  server.route("POST", "/v1/completions", [api](const HttpRequest& r) { return api->complete(r); });
  server.route("POST", "/tokenize", [api](const HttpRequest& r) { return api->tokenize(r); });
  server.route("POST", "/detokenize", [api](const HttpRequest& r) { return api->detokenize(r); });
  server.route("GET", "/v1/models", [&](const HttpRequest&) { return models(*engine.model(), true); });
  server.route("GET", "/v1/models/" + engine.model()->name,
               [&](const HttpRequest&) { return models(*engine.model(), false); });
}

}  // namespace ink
