// Which requests are let through to a handler: the rules of HttpServer that need no socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ink/serve/http_server.h"

namespace ink {

// Why a request is refused, if it is, from its line and headers alone. `wants_key`: the route's Access is key. path and
// method are known to be of a route.
std::optional<HttpError> refuse(const HttpOptions& options, const HttpRequest& request, bool wants_key);

// The value of Host, with or without a port, names this server: localhost, an IP address or one of options.hosts.
bool known_host(const HttpOptions& options, std::string_view host);

// The page that a request comes from, if it comes from a page, may ask.
bool known_origin(const HttpOptions& options, const HttpRequest& request);

// The headers that every answer has, as a reply to this request.
std::vector<std::pair<std::string, std::string>> safety_headers(const HttpOptions& options, const HttpRequest& request);

}  // namespace ink
