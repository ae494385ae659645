// The HTTP server of a program that was built without an HTTP library.
#include "ink/base/check.h"
#include "ink/serve/http_server.h"

namespace ink {

struct HttpServer::Impl {};

HttpServer::HttpServer(HttpOptions) {
  fail(
      "this program was built without an HTTP library; install libcpp-httplib-dev, or with Homebrew cpp-httplib, and "
      "build again");
}
HttpServer::~HttpServer() = default;
void HttpServer::route(std::string_view, std::string_view, HttpHandler, Access) {}
void HttpServer::start() {}
int HttpServer::port() const { return 0; }
std::string HttpServer::url() const { return ""; }
void HttpServer::drain() {}
void HttpServer::stop(std::chrono::milliseconds) {}
HttpServer::Counts HttpServer::counts() const { return {}; }

std::string_view http_library() { return "none: this program was built without cpp-httplib"; }

}  // namespace ink
