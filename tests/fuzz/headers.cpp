// What an answer's headers say: Retry-After in both of its forms, and words for a person.
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "delivery/retry_after.hpp"
#include "printable.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using std::chrono::milliseconds;

// A line with the present in milliseconds since 1970, then the header's value.
FUZZ_TARGET(headers) {
  Input in(bytes);
  constexpr std::int64_t furthest = 8'640'000'000'000'000;
  const std::int64_t now = std::clamp(Input::decimal(in.line()), -furthest, furthest);
  const std::string_view value = in.rest();

  const std::optional<milliseconds> wait = delivery::parse_retry_after(value, now);
  constexpr milliseconds year = std::chrono::seconds(365 * 86'400);
  if (wait) must(wait->count() >= 0 && *wait <= year, "a wait is bounded");
  const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
  if (digits) {
    must(wait.has_value(), "seconds are understood");
    std::uint64_t seconds = 0;
    const bool fits = std::from_chars(value.data(), value.data() + value.size(), seconds).ec == std::errc();
    if (fits && seconds <= 31'536'000) must(*wait == std::chrono::seconds(seconds), "to the second");
    if (!fits || seconds > 31'536'000) must(*wait == year, "up to the bound");
  }
  if (value.empty()) must(!wait, "nothing says nothing");

  // The date that lies so many seconds ahead is so far away.
  std::int64_t ahead = 0;
  for (const char c : value.substr(0, 3)) ahead = ahead * 256 + static_cast<unsigned char>(c);
  const std::time_t moment = std::clamp<std::int64_t>(now / 1000, 86'400, 4'102'444'800) + ahead;
  std::tm parts{};
  gmtime_r(&moment, &parts);
  std::array<char, 40> date{};
  const std::size_t size = std::strftime(date.data(), date.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  const auto left = delivery::parse_retry_after({date.data(), size}, (moment - ahead) * 1000);
  must(left.value_or(milliseconds(0)) == std::chrono::seconds(std::min<std::int64_t>(ahead, 31'536'000)),
       std::string("a date is understood: ") + date.data());

  const std::string shown = printable(value);
  must(printable(shown) == shown, "what is printable stays as it is");
  must(shown.size() <= 4 * value.size() && shown.size() >= value.size(), "a byte takes four at most");
  for (const char c : shown) must(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "no control character");
  must(printable(value, 10).size() <= 52, "a bound holds");
}

}  // namespace intilery::fuzz
