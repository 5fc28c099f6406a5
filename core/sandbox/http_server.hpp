/// \file
/// HTTP on loopback, with answers that can go wrong.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace intilery::testing {

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
    part,     ///< Closed amid the answer.
    garbage,  ///< Bytes that are no HTTP, then closed.
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Ending ending = Ending::whole;
};

/// Serves until it is destroyed, one thread a connection.
class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(HttpRequest)>;  ///< Called on many threads at once.

  /// \throws std::runtime_error if the address cannot be bound.
  HttpServer(const std::string& host, int port, Handler handler);
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
