// The HTTP interface to a model: OpenAI's completions and models, and tokenizing (docs/api.md).
#pragma once

#include "ink/serve/engine.h"
#include "ink/serve/http_server.h"

namespace ink {

// Adds the routes. engine and server must outlive the server's requests.
//   POST /v1/completions   GET /v1/models, /v1/models/NAME   POST /tokenize, /detokenize
void add_api_routes(HttpServer& server, Engine& engine);

}  // namespace ink
