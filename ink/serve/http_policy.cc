#include "ink/serve/http_policy.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "ink/base/sha256.h"

namespace ink {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_address(const std::string& text) {
  unsigned char bytes[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, text.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

int64_t count_headers(const HttpRequest& request, std::string_view name) {
  return std::ranges::count_if(request.headers, [&](const auto& header) { return same_word(header.first, name); });
}

// What a body may be: JSON of a length that is said in one way, and not compressed.
std::optional<HttpError> refuse_body(const HttpOptions& options, const HttpRequest& request) {
  const std::string_view length = request.header("Content-Length");
  const bool chunked = count_headers(request, "Transfer-Encoding") > 0;
  if (count_headers(request, "Content-Length") > 1 || (chunked && !length.empty())) {
    return HttpError(400, "the length of the body is said twice");
  }
  if (chunked &&
      (count_headers(request, "Transfer-Encoding") > 1 || !same_word(request.header("Transfer-Encoding"), "chunked"))) {
    return HttpError(400, "Transfer-Encoding can only be chunked");
  }
  uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (count_headers(request, "Content-Length") == 1) {
    if (error == std::errc::result_out_of_range || (error == std::errc() && bytes > options.body_bytes)) {
      return HttpError(413, fmt::format("the body is larger than {} bytes", options.body_bytes));
    }
    if (error != std::errc() || end != length.data() + length.size()) {
      return HttpError(400, "Content-Length is no number");
    }
  }
  if (request.method != "POST") {
    return bytes > 0 || chunked ? std::optional(HttpError(400, request.method + " takes no body")) : std::nullopt;
  }
  if (length.empty() && !chunked) return HttpError(411, "POST needs a body with its Content-Length");
  if (count_headers(request, "Content-Encoding") > 0) return HttpError(415, "the body cannot be compressed");
  std::string_view type = request.header("Content-Type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (!same_word(type, "application/json")) return HttpError(415, "the body must be of Content-Type application/json");
  return std::nullopt;
}

// The library takes names that others read differently, as "Content-Length ".
bool is_header_name(std::string_view name) {
  constexpr std::string_view kSigns = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || kSigns.find(c) != std::string_view::npos;
  });
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

}  // namespace

std::string_view HttpRequest::query_value(std::string_view name) const {
  const auto found = std::ranges::find_if(query, [&](const auto& entry) { return entry.first == name; });
  return found == query.end() ? std::string_view() : found->second;
}

std::string_view HttpRequest::header(std::string_view name) const {
  const auto found = std::ranges::find_if(headers, [&](const auto& entry) { return same_word(entry.first, name); });
  return found == headers.end() ? std::string_view() : found->second;
}

HttpResponse error_response(const HttpError& error) {
  using nlohmann::ordered_json;
  const auto or_null = [](const std::string& text) { return text.empty() ? ordered_json() : ordered_json(text); };
  const ordered_json body = {{"error",
                              {{"message", error.what()},
                               {"type", error_type(error.status())},
                               {"param", or_null(error.param())},
                               {"code", or_null(error.code())}}}};
  HttpResponse response = {.status = error.status()};
  response.body = body.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (error.retry_after > 0) response.headers.emplace_back("Retry-After", std::to_string(error.retry_after));
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

bool same_secret(std::string_view a, std::string_view b) {
  const std::string x = sha256_hex(a), y = sha256_hex(b);  // of the same length, whatever a and b are
  unsigned difference = 0;
  for (size_t i = 0; i < x.size(); ++i) difference |= static_cast<unsigned>(x[i] ^ y[i]);
  return difference == 0;
}

bool known_host(const HttpOptions& options, std::string_view host) {
  std::string_view name = host;
  if (name.starts_with('[')) {
    const size_t close = name.find(']');
    if (close == std::string_view::npos) return false;
    const std::string_view rest = name.substr(close + 1);
    return (rest.empty() || (rest[0] == ':' && is_port(rest.substr(1)))) &&
           is_address(std::string(name.substr(1, close - 1)));
  }
  if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
    if (!is_port(name.substr(colon + 1))) return false;
    name = name.substr(0, colon);
  }
  return same_word(name, "localhost") || is_address(std::string(name)) ||
         std::ranges::any_of(options.hosts, [&](const std::string& known) { return same_word(name, known); });
}

bool known_origin(const HttpOptions& options, const HttpRequest& request) {
  const std::string_view origin = request.header("Origin");
  if (count_headers(request, "Origin") > 0) {
    if (std::ranges::find(options.origins, origin) != options.origins.end()) return true;
    const std::string_view host = request.header("Host");
    return same_word(origin, fmt::format("http://{}", host)) || same_word(origin, fmt::format("https://{}", host));
  }
  // Browsers say so even where they send no origin. Following a link to our page is no harm.
  const std::string_view site = request.header("Sec-Fetch-Site");
  return (site != "cross-site" && site != "same-site") || request.header("Sec-Fetch-Mode") == "navigate";
}

std::optional<HttpError> refuse(const HttpOptions& options, const HttpRequest& request, bool wants_key) {
  if (!std::ranges::all_of(request.headers, [](const auto& header) { return is_header_name(header.first); })) {
    return HttpError(400, "a header's name has signs that none can have");
  }
  if (count_headers(request, "Host") != 1) return HttpError(400, "a request needs one Host header");
  if (!known_host(options, request.header("Host"))) {
    return HttpError(403, "this server is not known by the name in the Host header", "", "unknown_host");
  }
  if (!known_origin(options, request)) {
    return HttpError(403, "pages of another origin may not ask this server", "", "cross_origin");
  }
  if (wants_key && !options.api_key.empty()) {
    std::string_view given = request.header("Authorization");
    const bool bearer = given.size() > 7 && same_word(given.substr(0, 7), "Bearer ");
    if (count_headers(request, "Authorization") != 1 || !bearer || !same_secret(given.substr(7), options.api_key)) {
      return HttpError(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY", "",
                       "invalid_api_key");
    }
  }
  return refuse_body(options, request);
}

std::vector<std::pair<std::string, std::string>> safety_headers(const HttpOptions& options,
                                                                const HttpRequest& request) {
  std::vector<std::pair<std::string, std::string>> headers = {
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cache-Control", "no-store"},
  };
  const std::string_view origin = request.header("Origin");
  const bool allowed = std::ranges::find(options.origins, origin) != options.origins.end();
  headers.emplace_back("Cross-Origin-Resource-Policy", allowed ? "cross-origin" : "same-origin");
  if (!options.origins.empty()) headers.emplace_back("Vary", "Origin");
  if (allowed) headers.emplace_back("Access-Control-Allow-Origin", std::string(origin));
  return headers;
}

}  // namespace ink
