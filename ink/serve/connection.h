// A client's connection: bytes in and out, each under a deadline.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace ink {

struct ConnectionLimits {
  size_t header_bytes = size_t{32} << 10;    // of one request's line and headers
  std::chrono::milliseconds request{30000};  // for a whole request to arrive, from its first byte on
  std::chrono::milliseconds write{30000};    // for a piece of an answer to be taken
  std::chrono::milliseconds between{15000};  // for the next request of a connection to begin
};

// Only one thread uses it, but for cut(). Errors are return values: a client that fails is nothing exceptional.
class Connection {
 public:
  // Takes the socket, which it closes.
  Connection(int socket, const ConnectionLimits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for the next request to begin, and starts its clock; false if none comes, or `stop` becomes true.
  bool wait_for_request(const std::atomic<bool>& stop);
  // From here on the request's bytes are its body, with at most so many of them.
  void headers_end(size_t body_bytes) {
    in_headers_ = false;
    left_ = body_bytes;
  }
  // Whether the headers or the body were cut off at their limit, or the request took too long.
  bool headers_too_large() const { return too_large_ && in_headers_; }
  bool body_too_large() const { return too_large_ && !in_headers_; }
  bool timed_out() const { return timed_out_; }

  // At least one byte and at most size; 0 at the end, -1 on an error, at the limit or the deadline.
  long read(char* data, size_t size);
  // Whether bytes come within the request's time.
  bool wait_readable();
  // All or nothing.
  bool write(std::string_view data);
  // Whether the client is still there. One that has closed its sending side counts as gone.
  bool alive() const;
  // Says that nothing more is sent, and reads for a moment what the client still sends: closing with bytes unread would
  // take back the answer.
  void linger();
  // Ends reads and writes from another thread.
  void cut();

  int socket() const { return socket_; }
  const std::string& peer() const { return peer_; }
  int peer_port() const { return peer_port_; }

 private:
  using Clock = std::chrono::steady_clock;

  int socket_;
  ConnectionLimits limits_;
  std::string peer_;
  int peer_port_ = 0;
  char buffer_[8192];
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer
  Clock::time_point deadline_;
  size_t left_ = 0;  // bytes that headers or body may still have
  bool in_headers_ = true;
  bool too_large_ = false;
  bool timed_out_ = false;
};

}  // namespace ink
