/// \file
/// A request that tells how far it came.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "intilery/options.hpp"
#include "transport/curl_handle.hpp"

namespace intilery::transport {

/// The steps of a request, in their order.
enum class Step { name, connection, tls, answer, done };

struct Probed {
  Step reached = Step::name;  ///< The step that failed, or `done`.
  bool bad_ca_file = false;
  bool trusts_any = true;  ///< Else no certificates were found.
  std::string detail;      ///< What went wrong, for a person. Never holds the token.
  int status = 0;
  std::string body;  ///< Its beginning.
  std::string date;  ///< The header.
  std::string peer;  ///< Address and port.
  std::chrono::milliseconds name_time{0};
  std::chrono::milliseconds connect_time{0};
  std::string issuer;                   ///< Of the server's certificate,
  std::optional<std::int64_t> expires;  ///< and its end, in Unix seconds.
};

/// A connection for a few requests, one after the other, on the caller's thread.
class Probe {
 public:
  /// \param given_up outlives this; ends a request within a second.
  Probe(const Options& options, const std::string& user_agent, const std::atomic<bool>& given_up);

  /// \param path behind the endpoint.
  /// \param body of a POST; null for a GET. Outlives the call.
  Probed ask(const std::string& path, const std::string* body);

 private:
  const std::string base_;
  const Trust trust_;
  Headers headers_;
  Easy easy_;
};

/// Versions of libcurl and its TLS library.
std::string curl_versions();

}  // namespace intilery::transport
