/// \file
/// The contract's rules on whole values, as they stand on the wire.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "event/draft.hpp"

namespace intilery::event {

/// `identify`, `track`, `page`, `screen`.
std::string_view name_of(Action action);

/// The action of that name. Throws BadValue `unknown_action`.
Action action_named(std::string_view name);

/// The command that a track event's name means, without regard to case.
Draft::Command command_named(std::string_view event);

/// The root fields that a message with this action may have, by their wire names.
std::span<const std::string_view> fields_of(Action action);

/// Fields that a command's data must not replace.
bool is_reserved(std::string_view field, Draft::Command command);

/// The shape of the guide's `marketingPreferences` trait, if it is there. Throws BadValue with a path relative to the
/// traits.
void check_marketing_preferences(std::string_view traits);

/// `start_journey` needs `journeyIdToTrigger`, and may have `stepIdToTrigger`. Throws BadValue with a path relative to
/// the properties.
void check_journey(std::string_view properties);

}  // namespace intilery::event
