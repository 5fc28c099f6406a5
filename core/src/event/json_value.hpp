/// \file
/// C++ values become JSON text.
#pragma once

#include <nlohmann/json.hpp>

#include "event/draft.hpp"

namespace intilery::event {

/// Writes a value. Throws BadValue for NaN, invalid UTF-8, binary values and depth.
void write_json(JsonWriter& out, const nlohmann::json& value);

/// A source for the object; none for null.
ValueSource source_of(const nlohmann::json& value);

}  // namespace intilery::event
