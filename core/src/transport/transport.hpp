/// \file
/// How requests travel. Knows nothing of events.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace intilery::transport {

/// A request. The views of the body must stay valid until its response was handed out.
struct Request {
  std::uint64_t id = 0;  ///< Chosen by the caller; comes back in the response.
  std::string path;      ///< Behind the endpoint, with the query.
  bool post = true;      ///< Else GET.
  std::vector<std::string_view> body;
  std::size_t body_size = 0;
};

/// Why there is no answer.
enum class Failure { none, unreachable, timed_out, broken, tls };

struct Response {
  std::uint64_t id = 0;
  int status = 0;  ///< 0: no (whole) answer.
  std::string body;
  bool body_cut = false;  ///< The answer was longer than what is kept; the rest was not read.
  std::string retry_after;
  Failure failure = Failure::none;
  std::string detail;  ///< What went wrong, for a person. Never holds the token.
  bool sent = false;   ///< The server may have seen the request.
};

/// Used by one thread, but for `wake`.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void start(Request request) = 0;
  /// Waits until something happens, at most `timeout`, or until `wake`, and hands out what is complete.
  virtual std::vector<Response> poll(std::chrono::milliseconds timeout) = 0;
  /// Ends a `poll`, or the next one. From any thread.
  virtual void wake() = 0;
  /// Drops everything under way, without responses, and every connection. Nothing can be started after it.
  virtual void abandon() = 0;
  virtual void set_token(const std::string& token) = 0;
};

}  // namespace intilery::transport
