#include "http_server.hpp"

#include <httplib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace intilery::testing {

namespace {

constexpr std::size_t longest_body = 64'000'000;  // more is not even read
constexpr int poll_slice_ms = 50;                 // how soon a stop is noticed

/// One connection, as httplib reads and writes it. Knows how its answer is to end.
class Connection : public httplib::Stream {
 public:
  Connection(socket_t fd, const std::atomic<bool>& stopping) : fd_(fd), stopping_(stopping) {}

  HttpAnswer::Ending ending = HttpAnswer::Ending::whole;

  /// Waits for the next request. False: the peer is gone, or the server stops.
  bool wait_for_request() { return from_ < to_ || wait_readable(); }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  socket_t socket() const override { return fd_; }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}

  ssize_t read(char* out, std::size_t size) override {
    if (from_ == to_) {
      if (!wait_readable()) return -1;
      const ssize_t received = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (received <= 0) return received;
      from_ = 0;
      to_ = static_cast<std::size_t>(received);
    }
    const std::size_t count = std::min(size, to_ - from_);
    std::memcpy(out, buffer_.data() + from_, count);
    from_ += count;
    return static_cast<ssize_t>(count);
  }

  /// Collects: the answer leaves in one piece, by `finish`.
  ssize_t write(const char* data, std::size_t size) override {
    out_.append(data, size);
    return static_cast<ssize_t>(size);
  }

  /// Sends the answer the way it is to end. False: the connection is over.
  bool finish() {
    using namespace std::string_view_literals;
    constexpr std::string_view garbage = "\x16\x03garbage\0\xff\xfe that is no HTTP\r\n\r\n"sv;
    switch (ending) {
      case HttpAnswer::Ending::whole:
        break;
      case HttpAnswer::Ending::nothing:
        return false;
      case HttpAnswer::Ending::part:
        send_all(std::string_view(out_).substr(0, out_.size() * 2 / 3));
        return false;
      case HttpAnswer::Ending::garbage:
        send_all(garbage);
        return false;
    }
    const bool sent = send_all(out_);
    out_.clear();
    return sent;
  }

 private:
  bool wait_readable() const {
    while (!stopping_) {
      pollfd entry{fd_, POLLIN, 0};
      const int ready = ::poll(&entry, 1, poll_slice_ms);
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }
  bool send_all(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  socket_t fd_;
  const std::atomic<bool>& stopping_;
  std::array<char, 64 * 1024> buffer_;
  std::size_t from_ = 0;
  std::size_t to_ = 0;
  std::string out_;
};

thread_local Connection* current_connection = nullptr;

/// A thread for each connection: kept ones must not starve new ones, as they would in a pool.
class ThreadPerConnection : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> serve) override {
    {
      const std::lock_guard lock(mutex_);
      ++running_;
    }
    std::thread([this, serve = std::move(serve)] {
      serve();
      const std::lock_guard lock(mutex_);
      --running_;
      ended_.notify_all();
    }).detach();
  }
  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return running_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;
};

/// httplib parses and formats; connections are ours, since their end is what a test wants to choose.
class Server : public httplib::Server {
 public:
  std::atomic<bool> stopping{false};

 private:
  bool process_and_close_socket(socket_t fd) override {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto connection = std::make_unique<Connection>(fd, stopping);
    current_connection = connection.get();
    bool closed = false;
    while (!closed && connection->wait_for_request()) {
      if (!process_request(*connection, /*close_connection=*/false, closed, nullptr)) closed = true;
      if (!connection->finish()) break;
    }
    current_connection = nullptr;
    ::shutdown(fd, SHUT_RDWR);
    ::close(fd);
    return true;
  }
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::string HttpRequest::header(const std::string& name) const {
  const auto found =
      std::find_if(headers.begin(), headers.end(), [&](const auto& header) { return header.first == name; });
  return found == headers.end() ? std::string() : found->second;
}

struct HttpServer::Impl {
  Server server;
  Handler handler;
  int port = 0;
  std::thread accepting;
  std::once_flag stopped;

  void serve(const httplib::Request& request, httplib::Response& response) {
    HttpRequest incoming;
    incoming.method = request.method;
    incoming.target = request.target;
    incoming.path = request.target.substr(0, request.target.find('?'));
    incoming.query = {request.params.begin(), request.params.end()};
    for (const auto& [name, value] : request.headers) {
      if (name != "REMOTE_ADDR" && name != "REMOTE_PORT" && name != "LOCAL_ADDR" && name != "LOCAL_PORT") {
        incoming.headers.emplace_back(lower(name), value);
      }
    }
    incoming.body = request.body;
    HttpAnswer answer = handler(std::move(incoming));
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name.c_str(), value.c_str());
    response.set_content(std::move(answer.body), "application/json");
    current_connection->ending = answer.ending;
  }
};

HttpServer::HttpServer(const std::string& host, int port, Handler handler) : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  Server& server = impl_->server;
  server.set_payload_max_length(longest_body);
  server.new_task_queue = [] { return new ThreadPerConnection; };  // httplib owns it
  server.set_socket_options([](socket_t fd) {
    const int on = 1;  // a test may stop a server and start it again on its port
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  });
  const auto serve = [impl = impl_.get()](const httplib::Request& request, httplib::Response& response) {
    impl->serve(request, response);
  };
  for (const auto add :
       {&httplib::Server::Get,
        static_cast<httplib::Server& (httplib::Server::*)(const std::string&, httplib::Server::Handler)>(
            &httplib::Server::Post),
        static_cast<httplib::Server& (httplib::Server::*)(const std::string&, httplib::Server::Handler)>(
            &httplib::Server::Put),
        static_cast<httplib::Server& (httplib::Server::*)(const std::string&, httplib::Server::Handler)>(
            &httplib::Server::Patch),
        static_cast<httplib::Server& (httplib::Server::*)(const std::string&, httplib::Server::Handler)>(
            &httplib::Server::Delete)}) {
    (server.*add)(".*", serve);
  }
  if (port == 0) {
    impl_->port = server.bind_to_any_port(host);
  } else if (server.bind_to_port(host, port)) {
    impl_->port = port;
  }
  if (impl_->port <= 0)
    throw std::runtime_error("cannot bind " + host + ":" + std::to_string(port) + " (is the port in use?)");
  impl_->accepting = std::thread([&server] { server.listen_after_bind(); });
  while (!server.is_running()) std::this_thread::yield();
}

HttpServer::~HttpServer() { stop(); }

int HttpServer::port() const { return impl_->port; }

bool HttpServer::stopping() const { return impl_->server.stopping; }

void HttpServer::stop() {
  std::call_once(impl_->stopped, [&] {
    impl_->server.stopping = true;
    impl_->server.stop();
    impl_->accepting.join();
  });
}

}  // namespace intilery::testing
