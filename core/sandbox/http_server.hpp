/// \file
/// HTTP on loopback, with answers that can go wrong.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace intilery::testing {

/// Bytes that are neither HTTP nor text.
inline constexpr std::string_view garbage_bytes{"\x16\x03garbage\0\xff\xfe that is no HTTP\r\n\r\n", 32};

struct HttpRequest {
  std::string method;
  std::string path;                                          ///< As sent, still percent-encoded, without the query.
  std::string target;                                        ///< With the query.
  std::multimap<std::string, std::string> query;             ///< Decoded.
  std::vector<std::pair<std::string, std::string>> headers;  ///< Names in lower case.
  std::string body;

  /// The first header of that name (in lower case), or an empty text.
  std::string header(const std::string& name) const;
};

struct HttpAnswer {
  /// How the connection goes on.
  enum class Ending {
    whole,    ///< As it should.
    nothing,  ///< Closed without a byte.
    reset,    ///< The same with a TCP RST instead of a FIN.
    hang,     ///< Nothing comes, and nothing is closed, until the peer closes.
    part,     ///< Closed amid the answer.
    garbage,  ///< Bytes that are no HTTP, then closed.
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string content_type = "application/json";
  Ending ending = Ending::whole;
  std::optional<std::size_t> declared_length = {};  ///< Content-Length, if not the true one.
  std::optional<std::size_t> cut_after = {};        ///< Closed after so many bytes of the body.
  std::size_t padding = 0;                          ///< So many bytes more in the body; never held in memory.
  std::chrono::milliseconds drip{0};                ///< Between the bytes.
};

/// Serves until it is destroyed, one thread a connection.
class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(HttpRequest)>;  ///< Called on many threads at once.
  /// Sees a request before its body is read. \returns the part of the body to read before the connection is reset;
  /// nothing if all is well. Called on many threads at once.
  using HeadHandler = std::function<std::optional<double>(HttpRequest)>;

  /// \throws std::runtime_error if the address cannot be bound.
  HttpServer(const std::string& host, int port, Handler handler, HeadHandler head_handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  /// Closes all connections. Idempotent.
  void stop();
  /// Whether `stop` was called; a handler that waits should look.
  bool stopping() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace intilery::testing
