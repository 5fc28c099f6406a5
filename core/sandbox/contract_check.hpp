/// \file
/// The contract, held against what arrives.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "intilery/testing.hpp"

namespace intilery::testing {

/// Why a call is refused.
struct Violation {
  std::string message;  ///< As the service words it: "userId must not be empty".
};

/// The action of a batch's item: its event's name says it.
std::string action_of_item(const nlohmann::json& item);

/// Whether a call makes the platform act: `send_email`, `start_journey` ….
bool is_command(const std::string& action, const nlohmann::json& call);

/// Checks one call.
/// \param raw its text, for what a parsed value no longer shows.
/// \param in_batch an item needs `event`, and may be an identify, a page or a screen by it.
std::optional<Violation> check_call(const std::string& action, const nlohmann::json& call, std::string_view raw,
                                    Profile profile, bool in_batch);

}  // namespace intilery::testing
