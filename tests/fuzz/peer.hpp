/// \file
/// The other end of a connection on loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "target.hpp"

namespace intilery::fuzz {

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// Sends all that it can, or stops where the other end does.
inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// What comes until the other end closes, or for so long nothing does.
inline std::string receive_all(int fd, int patience_ms) {
  std::string bytes;
  char block[16'384];
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = ::poll(&entry, 1, patience_ms);
    if (ready < 0 && errno == EINTR) continue;  // libFuzzer's clock
    if (ready <= 0) break;
    const ssize_t count = ::recv(fd, block, sizeof block, 0);
    if (count <= 0) break;
    bytes.append(block, static_cast<std::size_t>(count));
  }
  return bytes;
}

/// A server that gives whoever asks anything the same bytes, and hangs up.
class RudeServer {
 public:
  RudeServer() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    must(::bind(listening_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "a port can be had");
    ::listen(listening_, 64);
    socklen_t size = sizeof address;
    ::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~RudeServer() {
    stopping_ = true;
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
  }
  RudeServer(const RudeServer&) = delete;
  RudeServer& operator=(const RudeServer&) = delete;

  int port() const { return port_; }
  void answer_with(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    bytes_ = bytes;
  }

 private:
  void serve() {
    for (;;) {
      const int fd = ::accept(listening_, nullptr, nullptr);
      if (stopping_) break;
      if (fd < 0) continue;
      char block[16'384];
      static_cast<void>(::recv(fd, block, sizeof block, 0));  // the question, or a part of it
      {
        const std::lock_guard lock(mutex_);
        send_all(fd, bytes_);
      }
      ::shutdown(fd, SHUT_WR);
      receive_all(fd, 2'000);  // or what is unread would reset the connection
      ::close(fd);
    }
  }

  int listening_;
  int port_ = 0;
  std::mutex mutex_;
  std::string bytes_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace intilery::fuzz
