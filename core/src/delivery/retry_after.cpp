#include "delivery/retry_after.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace intilery::delivery {

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::int64_t unix_now_ms) {
  constexpr std::int64_t longest = 365LL * 86'400;  // beyond any bound of ours, and safe to multiply
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (end == value.data() + value.size() && !value.empty() && value.front() != '-') {
    if (error == std::errc::result_out_of_range) seconds = longest;
    return std::chrono::seconds(std::min(seconds, longest));
  }
  const std::time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  if (date == -1) return std::nullopt;
  const std::int64_t furthest = unix_now_ms / 1000 + longest + 1;  // a year of many digits is a date, too
  const std::int64_t wait = std::min<std::int64_t>(date, furthest) * 1000 - unix_now_ms;
  if (wait <= 0) return std::nullopt;
  return std::chrono::milliseconds(std::min(wait, longest * 1000));
}

}  // namespace intilery::delivery
