// A client of a few lines for servers on this machine, which can also send what is no HTTP.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ink {

struct Reply {
  int status = 0;                              // 0: there was none
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // of chunks put together
  std::string raw;
};

class Connected {
 public:
  explicit Connected(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    ok_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connected() { close(); }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), 0);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  // What comes until the text is there, or the end, or nothing for ten seconds.
  std::string read_until(std::string_view text) {
    std::string all;
    char buffer[4096];
    while (text.empty() || all.find(text) == std::string::npos) {
      pollfd entry = {socket_, POLLIN, 0};
      if (::poll(&entry, 1, 10000) <= 0) break;
      const ssize_t n = ::recv(socket_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      all.append(buffer, static_cast<size_t>(n));
    }
    return all;
  }
  std::string read_all() { return read_until(""); }

  void finish_sending() { ::shutdown(socket_, SHUT_WR); }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

 private:
  int socket_;
  bool ok_ = false;
};

inline Reply parse_reply(const std::string& raw) {
  Reply reply = {.raw = raw};
  const size_t end = raw.find("\r\n\r\n");
  if (end == std::string::npos || !raw.starts_with("HTTP/1.1 ")) return reply;
  reply.status = std::atoi(raw.c_str() + 9);
  size_t at = raw.find("\r\n") + 2;
  while (at < end + 2) {
    const size_t next = raw.find("\r\n", at), colon = raw.find(": ", at);
    std::string name = raw.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    reply.headers[name] = raw.substr(colon + 2, next - colon - 2);
    at = next + 2;
  }
  const std::string body = raw.substr(end + 4);
  if (reply.headers["transfer-encoding"] != "chunked") {
    reply.body = body;
    return reply;
  }
  for (size_t pos = 0; pos < body.size();) {
    const size_t size = std::stoul(body.substr(pos), nullptr, 16), data = body.find("\r\n", pos) + 2;
    reply.body += body.substr(data, size);
    pos = data + size + 2;
  }
  return reply;
}

// Sends bytes and gives the answer, until the server closes.
inline Reply ask_raw(int port, std::string_view bytes) {
  Connected connection(port);
  connection.send(bytes);
  return parse_reply(connection.read_all());
}

inline Reply ask(int port, const std::string& method, const std::string& path, const std::string& body = "",
                 const std::vector<std::string>& headers = {}) {
  std::string request =
      fmt::format("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", method, path, port);
  if (method == "POST") request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  for (const std::string& header : headers) request += header + "\r\n";
  return ask_raw(port, request + "\r\n" + body);
}

}  // namespace ink
