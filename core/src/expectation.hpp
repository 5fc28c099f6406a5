/// \file
/// What a program's own test expects, held against what arrived.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace intilery::testing {

/// A message as a test finds it: what was sent, with its `action`, its `brandId`, and an `event` whatever the action.
nlohmann::json as_arrived(nlohmann::json message, std::string_view brand_id);

/// The members that a message must have, by their names on the wire. An object may have members more; an array must be
/// as long; a number is compared by its value.
class Expectation {
 public:
  /// \throws std::invalid_argument unless it is an object.
  explicit Expectation(nlohmann::json message);

  bool matches(const nlohmann::json& arrived) const;

  /// Says that nothing matches, what did arrive, and in what the nearest of it differs.
  /// \param refused requests that the server refused, a line each.
  std::string nothing_matches(const std::vector<nlohmann::json>& arrived,
                              const std::vector<std::string>& refused = {}) const;
  /// Says that something matches and should not; empty if nothing does.
  std::string something_matches(const std::vector<nlohmann::json>& arrived) const;

 private:
  nlohmann::json expected_;
};

}  // namespace intilery::testing
