// An HTTP server that is safe by default: what every request and answer has to pass, around a library that speaks HTTP.
//
// Before a handler sees a request, it is checked for its size and the time it takes, its Host header (a name that
// somebody's page has pointed at this machine, "DNS rebinding"), where it comes from (pages of other origins are
// refused) and its API key. Every answer carries a strict content policy. Where the program was built without the
// library, making an HttpServer throws Error (http_none.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ink/serve/connection.h"

namespace ink {

struct HttpOptions {
  std::string address = "127.0.0.1";  // an IP address of this machine to listen on
  int port = 0;                       // 0: any that is free
  std::string api_key;                // wanted as "Authorization: Bearer KEY"; empty: none
  std::vector<std::string> origins;   // "https://example.org": pages that may ask, beside our own
  std::vector<std::string> hosts;     // names of this server, beside localhost and IP addresses
  size_t body_bytes = size_t{1} << 20;
  int connections = 256;  // at a time; more get 503
  // Of whole answers that have not been taken yet: slow clients could keep many large ones in memory. One that exceeds
  // it beside others is a 503.
  size_t answer_bytes = size_t{128} << 20;
  ConnectionLimits limits;
};

struct HttpRequest {
  std::string method, path;                                  // the path decoded, without the query
  std::vector<std::pair<std::string, std::string>> query;    // decoded
  std::vector<std::pair<std::string, std::string>> headers;  // names as the client wrote them
  std::string body;
  std::function<bool()> connected;  // whether the client is still there; while the handler runs

  // The first value of a name, or nothing. Headers' names in any case.
  std::string_view query_value(std::string_view name) const;
  std::string_view header(std::string_view name) const;
};

// Where a body goes that is made piece by piece.
class BodySink {
 public:
  virtual ~BodySink() = default;
  // False once the client has gone, or takes too long: then return.
  virtual bool write(std::string_view piece) = 0;
  // The same without a write. Ask now and then where nothing is written for long.
  virtual bool connected() = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // further ones; one set by the server is replaced
  // Makes the body instead, on the connection's own thread, after the headers have been sent; returns at its end.
  std::function<void(BodySink&)> stream;
};

// A handler throws it for a request that cannot be answered; the answer is OpenAI's error object.
class HttpError : public std::runtime_error {
 public:
  HttpError(int status, const std::string& message, std::string param = "", std::string code = "")
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}
  int status() const { return status_; }
  const std::string& param() const { return param_; }  // the field of the request that is to blame
  const std::string& code() const { return code_; }
  int retry_after = 0;  // seconds, for the header Retry-After

 private:
  int status_;
  std::string param_, code_;
};

HttpResponse error_response(const HttpError& error);

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

enum class Access : uint8_t {
  key,   // wants the API key, where there is one
  open,  // is for everyone: the page's files, /healthz
};

class HttpServer {
 public:
  explicit HttpServer(HttpOptions options);
  ~HttpServer();  // as stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // What answers a method ("GET", which HEAD follows, or "POST") on exactly this path. Handlers run on many threads at
  // once. POST wants a body of type application/json, which no page of another origin can send unasked. Call it before
  // start().
  void route(std::string_view method, std::string_view path, HttpHandler handler, Access access = Access::key);

  // Listens, and answers on threads of its own. Throws Error if the address or port cannot be had.
  void start();
  int port() const;         // after start()
  std::string url() const;  // "http://127.0.0.1:8080"

  // From now on answers new requests with 503; those that run go on.
  void drain();
  // Drains, waits until no request runs, but at most so long, cuts all connections and ends the threads.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds(0));

  struct Counts {
    int64_t connections = 0;                       // open now
    int64_t refused_connections = 0;               // since the start, as all below
    std::vector<std::pair<int, int64_t>> answers;  // by status
  };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The HTTP library and its version, or that there is none; for `ink info`.
std::string_view http_library();

// Whether two texts are the same, in a time that depends on neither's content.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace ink
