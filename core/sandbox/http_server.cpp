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

  /// How the answer is to leave; its body went into `write`.
  HttpAnswer answer;

  /// Waits for the next request. False: the peer is gone, or the server stops.
  bool wait_for_request() { return from_ < to_ || wait_for(POLLIN); }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  socket_t socket() const override { return fd_; }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}

  ssize_t read(char* out, std::size_t size) override {
    if (from_ == to_) {
      if (!wait_for(POLLIN)) return -1;
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
    switch (answer.ending) {
      case HttpAnswer::Ending::whole:
        break;
      case HttpAnswer::Ending::nothing:
        return false;
      case HttpAnswer::Ending::reset:
        reset();
        return false;
      case HttpAnswer::Ending::hang:
        while (wait_for(POLLIN) && ::recv(fd_, buffer_.data(), buffer_.size(), 0) > 0) {
        }
        return false;
      case HttpAnswer::Ending::part:
        send_all(std::string_view(out_).substr(0, out_.size() * 2 / 3));
        return false;
      case HttpAnswer::Ending::garbage:
        send_all(garbage_bytes);
        return false;
    }
    declare_length();
    if (answer.cut_after) {
      send_all(std::string_view(out_).substr(0, head_size() + *answer.cut_after));
      return false;
    }
    const bool sent = send_all(out_) && send_padding();
    out_.clear();
    return sent;
  }

  bool is_reset() const { return is_reset_; }

 private:
  /// From now on a close is a TCP RST.
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    is_reset_ = true;
  }
  std::size_t head_size() const { return out_.find("\r\n\r\n") + 4; }
  void declare_length() {
    if (!answer.declared_length && answer.padding == 0) return;
    constexpr std::string_view name = "Content-Length: ";
    const std::size_t from = out_.find(name);
    if (from >= head_size()) return;  // a 204 has none
    const std::size_t length = out_.size() - head_size() + answer.padding;
    out_.replace(from, out_.find("\r\n", from) - from,
                 std::string(name) + std::to_string(answer.declared_length.value_or(length)));
  }
  bool send_padding() const {
    const std::string block(std::min<std::size_t>(answer.padding, 256 * 1024), 'x');
    for (std::size_t left = answer.padding; left > 0; left -= std::min(left, block.size())) {
      if (stopping_ || !send_all(std::string_view(block).substr(0, left))) return false;
    }
    return true;
  }
  bool wait_for(short what) const {
    while (!stopping_) {
      pollfd entry{fd_, what, 0};
      const int ready = ::poll(&entry, 1, poll_slice_ms);
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }
  bool send_all(std::string_view bytes) const {
    const bool drips = answer.drip.count() > 0;
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), drips ? 1 : bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) {
        if (errno != EAGAIN || !wait_for(POLLOUT)) return false;
        continue;
      }
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      if (drips && !pause(answer.drip)) return false;
    }
    return true;
  }
  /// \returns false if the server stops.
  bool pause(std::chrono::milliseconds left) const {
    constexpr std::chrono::milliseconds slice{poll_slice_ms};
    for (; left.count() > 0 && !stopping_; left -= slice) std::this_thread::sleep_for(std::min(left, slice));
    return !stopping_;
  }

  socket_t fd_;
  const std::atomic<bool>& stopping_;
  std::array<char, 64 * 1024> buffer_;
  std::size_t from_ = 0;
  std::size_t to_ = 0;
  std::string out_;
  bool is_reset_ = false;
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

  /// httplib lets five connections wait, so of a hundred that come at once some would take seconds.
  void let_many_wait() { ::listen(svr_sock_, SOMAXCONN); }

 private:
  bool process_and_close_socket(socket_t fd) override {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto connection = std::make_unique<Connection>(fd, stopping);
    current_connection = connection.get();
    bool closed = false;
    while (!closed && connection->wait_for_request()) {
      connection->answer = {};
      if (!process_request(*connection, /*close_connection=*/false, closed, nullptr)) closed = true;
      if (!connection->finish()) break;
    }
    current_connection = nullptr;
    if (!connection->is_reset()) ::shutdown(fd, SHUT_RDWR);
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
  HeadHandler head_handler;
  int port = 0;
  std::thread accepting;
  std::once_flag stopped;

  static HttpRequest head_of(const httplib::Request& request) {
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
    return incoming;
  }

  /// \returns whether the request ends here.
  bool end_early(const httplib::Request& request) {
    const std::optional<double> part = head_handler(head_of(request));
    if (!part) return false;
    const auto size = request.get_header_value<std::uint64_t>("Content-Length");
    std::array<char, 16 * 1024> unused;
    for (auto left = static_cast<std::uint64_t>(static_cast<double>(size) * *part); left > 0;) {
      const ssize_t count = current_connection->read(unused.data(), std::min<std::uint64_t>(left, unused.size()));
      if (count <= 0) break;
      left -= static_cast<std::uint64_t>(count);
    }
    current_connection->answer.ending = HttpAnswer::Ending::reset;
    return true;
  }

  void serve(const httplib::Request& request, httplib::Response& response) {
    HttpRequest incoming = head_of(request);
    incoming.body = request.body;
    HttpAnswer answer = handler(std::move(incoming));
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    response.set_content(answer.body, answer.content_type);
    answer.body.clear();  // what the connection keeps is how it ends
    current_connection->answer = std::move(answer);
  }
};

HttpServer::HttpServer(const std::string& host, int port, Handler handler, HeadHandler head_handler)
    : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  impl_->head_handler = std::move(head_handler);
  Server& server = impl_->server;
  server.set_payload_max_length(longest_body);
  server.new_task_queue = [] { return new ThreadPerConnection; };  // httplib owns it
  server.set_socket_options([](socket_t fd) {
    const int on = 1;  // a test may stop a server and start it again on its port
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  });
  server.set_pre_routing_handler([impl = impl_.get()](const httplib::Request& request, httplib::Response&) {
    return impl->end_early(request) ? httplib::Server::HandlerResponse::Handled
                                    : httplib::Server::HandlerResponse::Unhandled;
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
    (server.*add)(R"([\s\S]*)", serve);  // a line break, too, may be in an id
  }
  if (port == 0) {
    impl_->port = server.bind_to_any_port(host);
  } else if (server.bind_to_port(host, port)) {
    impl_->port = port;
  }
  if (impl_->port <= 0)
    throw std::runtime_error("cannot bind " + host + ":" + std::to_string(port) + " (is the port in use?)");
  server.let_many_wait();
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
