/// \file
/// Moments as the wire has them: ISO-8601 UTC with milliseconds and `Z` (the guide).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace intilery::event {

/// `2019-11-18T13:30:11.444Z`.
using TimestampText = std::array<char, 24>;

/// Milliseconds since the Unix epoch that a four-digit year can show: 0000-01-01 to 9999-12-31.
constexpr std::int64_t first_timestamp_ms = -62'167'219'200'000;
constexpr std::int64_t last_timestamp_ms = 253'402'300'799'999;

constexpr bool is_timestamp(std::int64_t unix_ms) {
  return unix_ms >= first_timestamp_ms && unix_ms <= last_timestamp_ms;
}

/// Throws BadValue `invalid_timestamp` for a moment outside of these years.
void check_timestamp(std::int64_t unix_ms);

/// \param unix_ms from `first_timestamp_ms` to `last_timestamp_ms`.
TimestampText format_timestamp(std::int64_t unix_ms);

/// Reads an ISO-8601 date-time with zone (`2019-11-18T14:30:11.4449+01:00`), cutting the fraction to milliseconds.
/// Throws BadValue: `naive_timestamp` without a zone, else `invalid_timestamp`.
std::int64_t parse_timestamp(std::string_view text);

/// Microseconds and milliseconds since the Unix epoch, by the system's clock.
std::int64_t unix_now_us();
std::int64_t unix_now_ms();

}  // namespace intilery::event
