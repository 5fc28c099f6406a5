/// \file
/// The service's moments: ISO-8601 UTC with milliseconds and `Z`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace intilery::testing {

/// Milliseconds since the Unix epoch; nothing unless the text is exactly `YYYY-MM-DDTHH:MM:SS.mmmZ` and a real moment.
std::optional<std::int64_t> parse_wire_time(std::string_view text);
std::string format_wire_time(std::int64_t unix_ms);
std::int64_t wire_now();

}  // namespace intilery::testing
