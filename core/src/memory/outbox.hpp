/// \file
/// Where the events of a client in memory end.
#pragma once

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "intilery/options.hpp"
#include "intilery/testing.hpp"
#include "transport/transport.hpp"

namespace intilery::memory {

/// What a client in memory starts from: an account, and no pace nor backoff that a test would have to wait for.
Options default_options();

/// Answers requests in the service's place, and keeps the events of those that it answers with success. Any thread may
/// call any member.
class Outbox {
 public:
  /// The transport of one client. It keeps the outbox.
  static std::unique_ptr<transport::Transport> transport(std::shared_ptr<Outbox> outbox);

  /// Answers this from now on, or `times` times: an HTTP status, or 0 for no answer at all.
  /// \param body if empty, one that the service would give.
  /// \throws std::invalid_argument for a status that is none.
  void answer(int status, std::optional<std::size_t> times, std::string body);

  /// What was sent with success, a message each, as a JSON array in the order of arrival.
  std::string sent_json() const;
  /// Forgets that, and answers with success again.
  void clear();

  // What was sent, by the members that it has; see `testing::Expectation`. Nothing here waits.
  std::string matching_json(const nlohmann::json& message) const;
  testing::Arrival expect(const nlohmann::json& message) const;
  testing::Arrival expect_none(const nlohmann::json& message) const;

 private:
  class Transport;
  struct Sent {
    std::string text;        ///< The message, with its action.
    nlohmann::json arrived;  ///< The same, as a test finds it.
  };

  transport::Response respond(const transport::Request& request);
  void keep(const std::string& action, const std::string& brand_id, const std::string& body);
  std::vector<nlohmann::json> arrived() const;

  mutable std::mutex mutex_;  ///< Guards all below.
  std::vector<Sent> sent_;
  std::vector<std::string> refused_;
  std::size_t answers_ = 0;
  int status_ = 200;
  std::string body_;
  std::optional<std::size_t> times_;
};

}  // namespace intilery::memory
