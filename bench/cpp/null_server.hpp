/// \file
/// A server that accepts everything and does nothing: nginx, on a port of its own.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace intilery::bench {

class NullServer {
 public:
  NullServer() : port_(free_port()) {
    std::string folder = (std::filesystem::temp_directory_path() / "intilery-bench-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no folder for nginx");
    folder_ = folder;
    std::ofstream(folder_ / "nginx.conf")
        << "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;\n"
           "events { worker_connections 1024; }\n"
           "http {\n"
           "  access_log off; client_max_body_size 0; keepalive_requests 1000000000; keepalive_timeout 1h;\n"
           "  client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; scgi_temp_path .; uwsgi_temp_path .;\n"
           "  server {\n"
           "    listen 127.0.0.1:"
        << port_
        << ";\n"
           "    location / { default_type application/json;\n"
           "      return 200 '{\"success\":true,\"eventId\":\"2f2d0a4e-7b0a-4c58-9d0e-4d8f1f0a8c11\"}'; }\n"
           "  }\n"
           "}\n";
    process_ = fork();
    if (process_ == 0) {
#if defined(__linux__)
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // it stays behind nobody
#endif
      const std::string config = (folder_ / "nginx.conf").string();
      execlp("nginx", "nginx", "-p", folder_.c_str(), "-c", config.c_str(), static_cast<char*>(nullptr));
      execl("/usr/sbin/nginx", "nginx", "-p", folder_.c_str(), "-c", config.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    wait_until_it_listens();
  }
  ~NullServer() { stop(); }
  NullServer(const NullServer&) = delete;
  NullServer& operator=(const NullServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  static sockaddr_in address(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
  }
  static int free_port() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in bound = address(0);
    socklen_t size = sizeof bound;
    bind(listener, reinterpret_cast<sockaddr*>(&bound), size);
    getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size);
    close(listener);
    return ntohs(bound.sin_port);
  }
  void wait_until_it_listens() {
    for (int attempt = 0; attempt < 500; ++attempt) {
      if (waitpid(process_, nullptr, WNOHANG) == process_) {
        process_ = 0;
        break;
      }
      const int client = socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in there = address(port_);
      const bool connected = connect(client, reinterpret_cast<const sockaddr*>(&there), sizeof there) == 0;
      close(client);
      if (connected) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    stop();
    throw std::runtime_error("nginx does not start; apt-get install nginx-light");
  }
  void stop() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  int port_;
  std::filesystem::path folder_;
  pid_t process_ = 0;
};

}  // namespace intilery::bench
