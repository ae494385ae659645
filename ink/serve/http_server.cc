// HttpServer on cpp-httplib, which parses requests and writes answers. The connections under it are ours: the library's
// own wait for each piece of a request anew, however many there are.
#include "ink/serve/http_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "ink/base/check.h"
#include "ink/serve/http_policy.h"

namespace ink {

namespace {

using std::chrono::milliseconds;

// What the library reads from and writes to. Later versions of it have more functions to override: no "override" here.
// NOLINTBEGIN(modernize-use-override)
class HttpStream : public httplib::Stream {
 public:
  explicit HttpStream(Connection& connection) : connection_(connection) {}

  bool is_readable() const { return connection_.wait_readable(); }
  bool wait_readable() const { return connection_.wait_readable(); }
  bool is_writable() const { return connection_.alive(); }
  bool wait_writable() const { return connection_.alive(); }
  bool is_peer_alive() const { return connection_.alive(); }
  ssize_t read(char* data, size_t size) { return connection_.read(data, size); }
  ssize_t write(const char* data, size_t size) {
    return connection_.write({data, size}) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const {
    ip = connection_.peer();
    port = connection_.peer_port();
  }
  void get_local_ip_and_port(std::string&, int&) const {}
  socket_t socket() const { return connection_.socket(); }
  time_t duration() const { return 0; }
  void set_read_timeout(time_t, time_t) {}

 private:
  Connection& connection_;
};
// NOLINTEND(modernize-use-override)

// Threads for connections: as many as there have been connections at a time.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(size_t most) : most_(most) {}

  // bool or void, as the library's version has it.
  using Queued = decltype(std::declval<httplib::TaskQueue&>().enqueue(std::function<void()>()));

  Queued enqueue(std::function<void()> serve) override {
    if (!give(serve)) serve();  // on the accepting thread, which only refuses
    return Queued(true);
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  bool give(const std::function<void()>& serve) {
    const std::lock_guard lock(mutex_);
    if (busy_ >= most_) return false;
    if (busy_ == threads_.size()) {
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        return false;  // the system has no more
      }
    }
    ++busy_;
    waiting_.push_back(serve);
    wake_.notify_one();
    return true;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::function<void()> serve = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      serve();
      lock.lock();
      --busy_;
    }
  }

  size_t most_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  size_t busy_ = 0;
  bool stop_ = false;
};

class Sink : public BodySink {
 public:
  Sink(httplib::DataSink& sink, Connection& connection) : sink_(sink), connection_(connection) {}
  bool write(std::string_view piece) override {
    // An empty chunk would end the body.
    if (!piece.empty() && ok_) ok_ = sink_.write(piece.data(), piece.size());
    return ok_;
  }
  bool connected() override { return ok_ && (ok_ = connection_.alive()); }

 private:
  httplib::DataSink& sink_;
  Connection& connection_;
  bool ok_ = true;
};

HttpRequest convert(const httplib::Request& request) {
  HttpRequest result;
  result.method = request.method;
  result.path = request.path;
  result.query.assign(request.params.begin(), request.params.end());
  result.headers.assign(request.headers.begin(), request.headers.end());
  return result;
}

void set_header(httplib::Response& to, const std::string& name, const std::string& value) {
  to.headers.erase(name);
  to.set_header(name, value);
}

}  // namespace

struct HttpServer::Impl : httplib::Server {
  struct Route {
    HttpHandler handler;
    Access access;
  };
  // What a connection's thread is at.
  struct Serving {
    std::unique_ptr<Connection> connection;
    bool close = false;  // after this answer: what comes next may be the rest of a body
    bool counted = false;
    bool chunks = true;       // the client knows them: they came with HTTP/1.1
    size_t answer_bytes = 0;  // in memory until they are sent
  };

  HttpOptions options;
  std::map<std::string, std::map<std::string, Route, std::less<>>, std::less<>> routes;  // by path, then method
  int port = 0;
  std::thread thread;
  std::thread::id accepting;  // that thread's
  std::atomic<bool> draining{false};
  mutable std::mutex mutex;
  std::condition_variable finished;
  std::map<std::thread::id, Serving*> serving;
  int64_t requests = 0, refused = 0;  // requests: that run now
  size_t answer_bytes = 0;            // of all that are served
  std::map<int, int64_t> answers;

  explicit Impl(HttpOptions o) : options(std::move(o)) {
    set_payload_max_length(options.body_bytes);
    set_keep_alive_timeout(std::chrono::duration_cast<std::chrono::seconds>(options.limits.between).count());
    // The library's default also lets a second server share the port.
    set_socket_options([](socket_t socket) {
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    new_task_queue = [this] { return new ConnectionThreads(static_cast<size_t>(options.connections)); };  // it owns it
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return check(request, response) ? HandlerResponse::Unhandled : HandlerResponse::Handled;
    });
    const Handler all = [this](const httplib::Request& request, httplib::Response& response) {
      dispatch(request, response);
    };
    Get(".*", all);
    Post(".*", all);
    // What the library finds wrong itself.
    set_error_handler(HandlerWithResponse([this](const httplib::Request& request, httplib::Response& response) {
      explain(request, response);
      return HandlerResponse::Handled;
    }));
    set_exception_handler([this](const httplib::Request& request, httplib::Response& response, auto&&) {
      answer(convert(request), error_response(HttpError(500, "the server failed")), response);
    });
    set_post_routing_handler([](const httplib::Request&, httplib::Response& response) {
      response.headers.erase("Keep-Alive");  // it would tell the library's limits
      if (response.headers.count("Connection") > 1) set_header(response, "Connection", "close");  // its own and ours
    });
    set_logger([this](const httplib::Request&, const httplib::Response& response) { count(response.status); });
  }

  Serving& current() {
    const std::lock_guard lock(mutex);
    return *serving.at(std::this_thread::get_id());
  }

  void count(int status) {
    const std::lock_guard lock(mutex);
    ++answers[status];
  }

  void accept();
  bool process_and_close_socket(socket_t socket) override;
  bool serve_request(httplib::Stream& stream, bool last, bool& closed);
  bool check(const httplib::Request& request, httplib::Response& response);
  void dispatch(const httplib::Request& from, httplib::Response& response);
  void explain(const httplib::Request& request, httplib::Response& response);
  bool has_room(Serving& self, size_t bytes);
  void answer(const HttpRequest& request, HttpResponse from, httplib::Response& to);
  void preflight(const HttpRequest& request, const std::string& methods, httplib::Response& response);
};

void HttpServer::Impl::accept() {
  accepting = std::this_thread::get_id();
  ::listen(svr_sock_, 256);  // many clients may come at once, and the library lets only 5 of them wait
  listen_after_bind();
}

// Called by the library on a thread of the queue, or to refuse on the accepting one.
bool HttpServer::Impl::process_and_close_socket(socket_t socket) {
  Serving self = {.connection = std::make_unique<Connection>(socket, options.limits)};
  Connection& connection = *self.connection;
  if (std::this_thread::get_id() == accepting) {
    const HttpResponse busy = error_response(HttpError(503, "too many connections", "", "too_many_connections"));
    connection.write(
        fmt::format("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                    "Retry-After: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
                    busy.body.size(), busy.body));
    const std::lock_guard lock(mutex);
    ++refused;
    return false;
  }
  {
    const std::lock_guard lock(mutex);
    serving[std::this_thread::get_id()] = &self;
  }
  HttpStream stream(connection);
  while (connection.wait_for_request(draining)) {
    bool closed = false;
    bool ok = false;
    try {
      ok = serve_request(stream, draining, closed);
    } catch (const std::exception&) {  // no memory: this client's misfortune, not everybody's
    }
    {
      const std::lock_guard lock(mutex);
      if (std::exchange(self.counted, false)) --requests;
      answer_bytes -= std::exchange(self.answer_bytes, 0);
      finished.notify_all();
    }
    if (ok && !closed && !self.close) continue;
    connection.linger();
    break;
  }
  const std::lock_guard lock(mutex);
  serving.erase(std::this_thread::get_id());
  self.connection.reset();  // while nobody can cut it
  return true;
}

// One request, by either of the two forms that the library's function has had.
bool HttpServer::Impl::serve_request(httplib::Stream& stream, bool last, bool& closed) {
  const std::function<void(httplib::Request&)> setup = [this](httplib::Request& request) {
    // The library does not limit a body in chunks. Their lengths are written between them.
    current().connection->headers_end(2 * options.body_bytes + 4096);
    request.ranges.clear();  // answers are whole
  };
  const auto process = [&](auto& server) {
    if constexpr (requires { server.process_request(stream, last, closed, setup); }) {
      return server.process_request(stream, last, closed, setup);
    } else {
      const Connection& connection = *server.current().connection;
      return server.process_request(stream, connection.peer(), connection.peer_port(), "", 0, last, closed, setup);
    }
  };
  return process(*this);
}

// Before the body is read. False if the answer is there already.
bool HttpServer::Impl::check(const httplib::Request& request, httplib::Response& response) {
  const HttpRequest converted = convert(request);
  Serving& self = current();
  self.chunks = request.version != "HTTP/1.0";
  const auto path = routes.find(converted.path);
  const std::string method = converted.method == "HEAD" ? "GET" : converted.method;
  std::optional<HttpError> error;
  Access access = Access::key;
  std::string methods;
  const auto known = [&] { return path != routes.end() && path->second.contains(method); };
  if (known()) access = path->second.at(method).access;
  if (path != routes.end()) {
    for (const auto& [name, route] : path->second) methods += (methods.empty() ? "" : ", ") + name;
  }
  const bool preflight_wanted = method == "OPTIONS" && path != routes.end() && !options.origins.empty();
  error = refuse(options, converted, access == Access::key && !preflight_wanted);
  if (!error && path == routes.end()) error = HttpError(404, "there is nothing at this path", "", "not_found");
  if (!error && preflight_wanted) return preflight(converted, methods, response), false;
  if (!error && !known()) error = HttpError(405, "this path takes " + methods, "", "method_not_allowed");
  if (!error) {
    const std::lock_guard lock(mutex);
    if (!draining) {  // looked at here, or stop() might not wait for this request
      if (!std::exchange(self.counted, true)) ++requests;
      return true;
    }
    error = HttpError(503, "the server is shutting down", "", "shutting_down");
  }
  self.close = true;
  answer(converted, error_response(*error), response);
  if (error->status() == 405) set_header(response, "Allow", methods);
  set_header(response, "Connection", "close");
  return false;
}

void HttpServer::Impl::dispatch(const httplib::Request& from, httplib::Response& response) {
  HttpRequest request = convert(from);
  if (from.body.size() > options.body_bytes) {
    response.status = 413;  // explain() says it
    return;
  }
  request.body = from.body;
  Connection& connection = *current().connection;
  request.connected = [&connection] { return connection.alive(); };
  const Route& route = routes.at(request.path).at(request.method == "HEAD" ? "GET" : request.method);
  HttpResponse result;
  try {
    result = route.handler(request);
  } catch (const HttpError& error) {
    result = error_response(error);
  } catch (const std::bad_alloc&) {
    result = error_response(HttpError(503, "the server is out of memory"));
  } catch (const std::exception&) {
    result = error_response(HttpError(500, "the server failed"));
  }
  answer(request, std::move(result), response);
}

bool HttpServer::Impl::has_room(Serving& self, size_t bytes) {
  const std::lock_guard lock(mutex);
  answer_bytes -= self.answer_bytes;
  const bool fits = answer_bytes == 0 || answer_bytes + bytes <= options.answer_bytes;
  self.answer_bytes = fits ? bytes : 0;
  answer_bytes += self.answer_bytes;
  return fits;
}

void HttpServer::Impl::answer(const HttpRequest& request, HttpResponse from, httplib::Response& to) {
  Serving& self = current();
  if (from.status < 400 && !has_room(self, from.body.size())) {
    HttpError busy(503, "too many large answers wait for their clients", "", "too_many_answers");
    busy.retry_after = 1;
    from = error_response(busy);
  }
  to.status = from.status;
  for (const auto& [name, value] : safety_headers(options, request)) set_header(to, name, value);
  for (const auto& [name, value] : from.headers) set_header(to, name, value);
  if (!from.stream) {
    to.headers.erase("Content-Type");
    to.set_content(from.body, from.content_type);
    return;
  }
  const auto provide = [make = std::move(from.stream), &connection = *self.connection](size_t,
                                                                                       httplib::DataSink& sink) {
    Sink ours(sink, connection);
    make(ours);
    if (!ours.connected()) return false;
    sink.done();
    return true;
  };
  if (self.chunks) return to.set_chunked_content_provider(from.content_type, provide);
  self.close = true;  // which ends the body
  set_header(to, "Connection", "close");
  to.set_content_provider(from.content_type, provide);
}

// Also comes here for our own errors, which have a body.
void HttpServer::Impl::explain(const httplib::Request& request, httplib::Response& response) {
  Serving& self = current();
  if (response.status >= 400 && response.body.empty() && request.method != "HEAD") {
    int status = response.status;
    std::string message = "the request is not valid HTTP";
    if (self.connection->timed_out()) {
      status = 408;
      message = "the request took too long to arrive";
    } else if (self.connection->headers_too_large()) {
      status = 431;
      message = fmt::format("the headers are larger than {} bytes", options.limits.header_bytes);
    } else if (status == 413 || self.connection->body_too_large()) {
      status = 413;
      message = fmt::format("the body is larger than {} bytes", options.body_bytes);
    } else if (status == 414) {
      message = "the address is too long";
    } else if (status >= 500) {
      message = "the server failed";
    }
    answer(convert(request), error_response(HttpError(status, message)), response);
    self.close = true;
    set_header(response, "Connection", "close");
  }
}

void HttpServer::Impl::preflight(const HttpRequest& request, const std::string& methods, httplib::Response& response) {
  answer(request, {.status = 204, .content_type = "text/plain"}, response);
  response.headers.erase("Content-Type");
  set_header(response, "Access-Control-Allow-Methods", methods);
  set_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
  set_header(response, "Access-Control-Max-Age", "600");
}

HttpServer::HttpServer(HttpOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

HttpServer::~HttpServer() { stop(); }

void HttpServer::route(std::string_view method, std::string_view path, HttpHandler handler, Access access) {
  impl_->routes[std::string(path)][std::string(method)] = {std::move(handler), access};
}

void HttpServer::start() {
  Impl& s = *impl_;
  if (s.options.port == 0) {
    s.port = s.bind_to_any_port(s.options.address);
  } else if (s.bind_to_port(s.options.address, s.options.port)) {
    s.port = s.options.port;
  }
  if (s.port <= 0) {
    fail("cannot listen on {} port {}; is it in use, or not an address of this machine? try another --port",
         s.options.address, s.options.port);
  }
  s.thread = std::thread([&s] { s.accept(); });
  while (!s.is_running()) std::this_thread::sleep_for(milliseconds(1));
}

int HttpServer::port() const { return impl_->port; }

std::string HttpServer::url() const {
  const std::string& address = impl_->options.address;
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", impl_->port);
}

void HttpServer::drain() { impl_->draining = true; }

void HttpServer::stop(milliseconds grace) {
  Impl& s = *impl_;
  drain();
  if (!s.thread.joinable()) return;
  {
    std::unique_lock lock(s.mutex);
    s.finished.wait_for(lock, grace, [&] { return s.requests == 0; });
    for (const auto& [id, serving] : s.serving) serving->connection->cut();
  }
  s.Server::stop();
  s.thread.join();
}

HttpServer::Counts HttpServer::counts() const {
  const std::lock_guard lock(impl_->mutex);
  Counts counts = {.connections = static_cast<int64_t>(impl_->serving.size()), .refused_connections = impl_->refused};
  counts.answers.assign(impl_->answers.begin(), impl_->answers.end());
  return counts;
}

std::string_view http_library() { return "cpp-httplib " CPPHTTPLIB_VERSION; }

}  // namespace ink
