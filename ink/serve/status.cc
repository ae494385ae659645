#include "ink/serve/status.h"

#include <fmt/format.h>

#include "ink/serve/metrics.h"

namespace ink {

namespace {

void add_http_metrics(MetricsText& m, const HttpServer::Counts& counts) {
  for (const auto& [status, count] : counts.answers) {
    m.counter("http_answers_total", "HTTP answers by status.", count, fmt::format("status=\"{}\"", status));
  }
  m.gauge("http_connections", "Open connections.", counts.connections);
  m.counter("http_refused_connections_total", "Connections beyond the limit.", counts.refused_connections);
}

void add_engine_metrics(MetricsText& m, const EngineStats& s) {
  m.gauge("sequences_running", "Sequences that are being generated.", s.running);
  m.gauge("sequences_waiting", "Sequences in the queue.", s.waiting);
  m.gauge("sequences_recent", "Sequences kept for prompts that begin alike.", s.recent);
  m.gauge("cache_pages", "Pages of the key-value cache.", s.pages);
  m.gauge("cache_free_pages", "Pages of the key-value cache that are free.", s.free_pages);
  m.counter("sequences_total", "Sequences that have begun.", s.sequences);
  m.counter("steps_total", "Forward passes.", s.steps);
  m.counter("prompt_tokens_total", "Tokens of prompts that were computed.", s.prompt_tokens);
  m.counter("reused_tokens_total", "Tokens of prompts that were in the cache.", s.reused_tokens);
  m.counter("generated_tokens_total", "Tokens that were generated.", s.generated_tokens);
  m.counter("reloads_total", "Times the model was loaded anew.", s.reloads);
  m.histogram("queue_seconds", "Time in the queue.", s.queued);
  m.histogram("first_token_seconds", "Time from the request to the first token.", s.first_token);
  m.histogram("token_seconds", "Time between two tokens of a sequence.", s.token);
}

}  // namespace

void add_status_routes(HttpServer& server, const Engine* engine) {
  // The server itself answers 503 while it shuts down.
  server.route(
      "GET", "/healthz", [](const HttpRequest&) { return HttpResponse{.body = R"({"status":"ok"})"}; }, Access::open);
  server.route("GET", "/metrics", [&server, engine](const HttpRequest&) {
    MetricsText m;
    add_http_metrics(m, server.counts());
    if (engine != nullptr) add_engine_metrics(m, engine->stats());
    return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = m.text()};
  });
}

}  // namespace ink
