/// \file
/// The `Retry-After` header (RFC 9110, 10.2.3).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace intilery::delivery {

/// How long the server asks to wait: a number of seconds or an HTTP date. Nothing if it says neither, or a past date.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::int64_t unix_now_ms);

}  // namespace intilery::delivery
