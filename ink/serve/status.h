// What every server tells about itself, with a model or without: that it is there, and numbers (docs/api.md).
#pragma once

#include "ink/serve/engine.h"
#include "ink/serve/http_server.h"

namespace ink {

// Adds GET /healthz, which is open to everyone, and GET /metrics, for Prometheus: of the server's requests, and of the
// engine's texts if there is one. Both must outlive the server's requests.
void add_status_routes(HttpServer& server, const Engine* engine = nullptr);

}  // namespace ink
