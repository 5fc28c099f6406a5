// tests/tls_server.py in front of a sandbox.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace intilery {

/// tests/tls_server.py in front of a sandbox.
class TlsServer {
 public:
  TlsServer(const std::string& kind, int port) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
    const std::string program = INTILERY_VECTORS "/../tls_server.py";
    const std::string port_text = std::to_string(port);
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(ends[1], STDIN_FILENO);
      ::dup2(ends[1], STDOUT_FILENO);
      ::execlp("python3", "python3", program.c_str(), kind.c_str(), port_text.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    socket_ = ends[0];
    std::string line;
    for (char byte = 0; byte != '\n' && ::read(socket_, &byte, 1) == 1;) line += byte;
    told_ = nlohmann::json::parse(line);
  }
  ~TlsServer() {
    ::close(socket_);
    ::waitpid(process_, nullptr, 0);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  std::string url() const { return told_.at("url"); }
  std::string ca_file() const { return told_.at("ca_file"); }

 private:
  pid_t process_ = 0;
  int socket_ = -1;
  nlohmann::json told_;
};

}  // namespace intilery
