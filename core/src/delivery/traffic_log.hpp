/// \file
/// What `debug` shows of the traffic.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>

#include "intilery/client.hpp"
#include "secrets.hpp"
#include "transport/transport.hpp"

namespace intilery::delivery {

/// Writes a line for each request and each answer, at LogLevel::debug. The only place from which what an event holds
/// gets into a log. The token never does: wherever it is met, in a body, an address or an answer, it is redacted. For
/// the I/O thread.
class TrafficLog {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Log = std::function<void(LogLevel, const std::string&)>;

  /// \param secrets outlives this; what it has is redacted.
  TrafficLog(const Options& options, const Secrets& secrets, Log log);

  void leaves(const transport::Request& request, std::size_t events, int attempt, TimePoint now);
  void comes_back(const transport::Response& response, TimePoint now);
  /// A request that would leave without `dry_run`.
  void stays(const transport::Request& request);

 private:
  std::string shown(const transport::Request& request, std::size_t events) const;

  const std::string endpoint_;
  const Secrets& secrets_;
  const Log log_;
  std::unordered_map<std::uint64_t, TimePoint> left_;  ///< When each request under way left.
};

}  // namespace intilery::delivery
