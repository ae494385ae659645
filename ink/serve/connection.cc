#include "ink/serve/connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ink {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Whether the socket is ready for the events (or has failed, which reading or writing then tells) before the deadline.
bool wait(int socket, short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd entry = {socket, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 60000)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 60000) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Connection::Connection(int socket, const ConnectionLimits& limits)
    : socket_(socket), limits_(limits), deadline_(Clock::now() + limits.request) {
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // a token's event must not wait for the next one
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    peer_port_ = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    peer_port_ = ntohs(v6.sin6_port);
  }
  peer_ = text;
}

Connection::~Connection() { ::close(socket_); }

bool Connection::wait_for_request(const std::atomic<bool>& stop) {
  const auto end = Clock::now() + limits_.between;
  while (begin_ == end_ && !wait(socket_, POLLIN, std::min(end, Clock::now() + milliseconds(100)))) {
    if (stop || Clock::now() >= end) return false;
  }
  deadline_ = Clock::now() + limits_.request;
  left_ = limits_.header_bytes;
  in_headers_ = true;
  return true;
}

bool Connection::wait_readable() { return begin_ < end_ || wait(socket_, POLLIN, deadline_); }

long Connection::read(char* data, size_t size) {
  if (left_ == 0) {
    too_large_ = true;
    return -1;
  }
  // Also while bytes keep coming: one at a time they may take for ever.
  if (Clock::now() >= deadline_) {
    timed_out_ = true;
    return -1;
  }
  while (begin_ == end_) {
    if (!wait(socket_, POLLIN, deadline_)) {
      timed_out_ = true;
      return -1;
    }
    const ssize_t n = ::recv(socket_, buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (n < 0 && would_block()) continue;
    if (n <= 0) return n;
    begin_ = 0;
    end_ = static_cast<size_t>(n);
  }
  const size_t n = std::min({size, end_ - begin_, left_});
  std::memcpy(data, buffer_ + begin_, n);
  begin_ += n;
  left_ -= n;
  return static_cast<long>(n);
}

bool Connection::write(std::string_view data) {
  const auto deadline = Clock::now() + limits_.write;
  while (!data.empty()) {
    const ssize_t n = ::send(socket_, data.data(), data.size(), MSG_DONTWAIT);
    if (n > 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (n == 0 || !would_block() || !wait(socket_, POLLOUT, deadline)) {
      return false;
    }
    if (!data.empty() && Clock::now() >= deadline) return false;
  }
  return true;
}

bool Connection::alive() const {
  if (begin_ < end_) return true;
  char byte = 0;
  const ssize_t n = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 || (n < 0 && would_block());
}

void Connection::linger() {
  ::shutdown(socket_, SHUT_WR);
  const auto end = Clock::now() + milliseconds(500);
  while (wait(socket_, POLLIN, end)) {
    const ssize_t n = ::recv(socket_, buffer_, sizeof buffer_, MSG_DONTWAIT);
    if ((n < 0 && !would_block()) || n == 0 || Clock::now() >= end) return;
  }
}

void Connection::cut() { ::shutdown(socket_, SHUT_RDWR); }

}  // namespace ink
