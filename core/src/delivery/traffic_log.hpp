/// \file
/// What `debug` shows of the traffic.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "intilery/client.hpp"
#include "transport/transport.hpp"

namespace intilery::delivery {

/// Writes a line for each request and each answer, at LogLevel::debug. The only place from which what an event holds
/// gets into a log. The token never does: wherever it is met, in a body, an address or an answer, it is redacted. For
/// the I/O thread.
class TrafficLog {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Log = std::function<void(LogLevel, const std::string&)>;

  TrafficLog(const Options& options, Log log);

  /// From now on this one is redacted too; answers to older requests may hold the old one.
  void add_token(const std::string& token) { tokens_.push_back(token); }

  void leaves(const transport::Request& request, std::size_t events, int attempt, TimePoint now);
  void comes_back(const transport::Response& response, TimePoint now);
  /// A request that would leave without `dry_run`.
  void stays(const transport::Request& request);

 private:
  std::string shown(const transport::Request& request, std::size_t events) const;
  std::string shown(std::string_view text, std::size_t limit) const;
  std::size_t token_at(std::string_view text) const;

  const std::string endpoint_;
  const Log log_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::uint64_t, TimePoint> left_;  ///< When each request under way left.
};

}  // namespace intilery::delivery
