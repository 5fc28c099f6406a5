#include "event/timestamp.hpp"

#include <chrono>
#include <string>

#include "event/bad_value.hpp"

namespace intilery::event {

namespace {

using std::chrono::days;
using std::chrono::microseconds;
using std::chrono::sys_days;

void put_digits(char* out, int count, unsigned value) {
  for (int i = count - 1; i >= 0; --i) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

[[noreturn]] void refuse(const char* why) {
  throw BadValue{"invalid_timestamp",
                 std::string("is not an ISO-8601 moment such as 2019-11-18T13:30:11.444Z (") + why + ")", ""};
}

/// Reads a timestamp from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool done() const { return at_ == text_.size(); }
  bool next_is(char c) const { return !done() && text_[at_] == c; }
  bool next_is_digit() const { return !done() && text_[at_] >= '0' && text_[at_] <= '9'; }
  char take() { return done() ? '\0' : text_[at_++]; }

  void expect(char c, const char* why) {
    if (take() != c) refuse(why);
  }
  unsigned digits(int count, const char* why) {
    unsigned value = 0;
    for (int i = 0; i < count; ++i) {
      if (!next_is_digit()) refuse(why);
      value = value * 10 + static_cast<unsigned>(take() - '0');
    }
    return value;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

void check_timestamp(std::int64_t unix_ms) {
  if (!is_timestamp(unix_ms)) throw BadValue{"invalid_timestamp", "must be between the years 0000 and 9999", ""};
}

TimestampText format_timestamp(std::int64_t unix_ms) {
  // Most events of a thread come within one second of each other.
  thread_local std::int64_t cached_second = INT64_MIN;
  thread_local TimestampText cached{};
  std::int64_t second = unix_ms / 1000;
  std::int64_t ms = unix_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    --second;
  }
  if (second != cached_second) {
    // And those of a table within one day.
    thread_local std::int64_t cached_day = INT64_MIN;
    const std::int64_t day = (second - (second < 0 ? 86'399 : 0)) / 86'400;
    if (day != cached_day) {
      const std::chrono::year_month_day date{sys_days(days(day))};
      cached = {'0', '0', '0', '0', '-', '0', '0', '-', '0', '0', 'T', '0',
                '0', ':', '0', '0', ':', '0', '0', '.', '0', '0', '0', 'Z'};
      put_digits(&cached[0], 4, static_cast<unsigned>(static_cast<int>(date.year())));
      put_digits(&cached[5], 2, static_cast<unsigned>(date.month()));
      put_digits(&cached[8], 2, static_cast<unsigned>(date.day()));
      cached_day = day;
    }
    const auto of_day = static_cast<unsigned>(second - day * 86'400);
    put_digits(&cached[11], 2, of_day / 3'600);
    put_digits(&cached[14], 2, of_day / 60 % 60);
    put_digits(&cached[17], 2, of_day % 60);
    cached_second = second;
  }
  TimestampText text = cached;
  put_digits(&text[20], 3, static_cast<unsigned>(ms));
  return text;
}

std::int64_t parse_timestamp(std::string_view text) {
  Reader in(text);
  const unsigned year = in.digits(4, "the year needs four digits");
  in.expect('-', "a date is YYYY-MM-DD");
  const unsigned month = in.digits(2, "the month needs two digits");
  in.expect('-', "a date is YYYY-MM-DD");
  const unsigned day = in.digits(2, "the day needs two digits");
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) refuse("there is no such day");
  in.expect('T', "a T must follow the date");
  const unsigned hour = in.digits(2, "the hour needs two digits");
  in.expect(':', "a time is HH:MM:SS");
  const unsigned minute = in.digits(2, "the minute needs two digits");
  in.expect(':', "a time is HH:MM:SS");
  const unsigned second = in.digits(2, "the second needs two digits");
  if (hour > 23 || minute > 59 || second > 59) refuse("there is no such time of day");

  std::int64_t ms = 0;
  if (in.next_is('.')) {
    in.take();
    if (!in.next_is_digit()) refuse("digits must follow the point");
    int digits = 0;
    for (; in.next_is_digit(); ++digits) {
      const int digit = in.take() - '0';
      if (digits < 3) ms = ms * 10 + digit;
    }
    if (digits > 9) refuse("a fraction has at most nine digits");
    for (; digits < 3; ++digits) ms *= 10;
  }

  if (in.done()) refuse_naive_timestamp();
  std::int64_t offset_minutes = 0;
  const char zone = in.take();
  if (zone == '+' || zone == '-') {
    const unsigned hours = in.digits(2, "a zone is Z or +HH:MM");
    in.expect(':', "a zone is Z or +HH:MM");
    const unsigned minutes = in.digits(2, "a zone is Z or +HH:MM");
    if (hours > 23 || minutes > 59) refuse("there is no such zone");
    offset_minutes = static_cast<std::int64_t>(hours) * 60 + minutes;
    if (zone == '-') offset_minutes = -offset_minutes;
  } else if (zone != 'Z' && zone != 'z') {
    refuse("a zone is Z or +HH:MM");
  }
  if (!in.done()) refuse("nothing may follow the zone");

  const std::int64_t of_day = (static_cast<std::int64_t>(hour) * 60 + minute - offset_minutes) * 60 + second;
  const std::int64_t unix_ms =
      sys_days(date).time_since_epoch().count() * std::int64_t{86'400'000} + of_day * 1000 + ms;
  if (!is_timestamp(unix_ms)) refuse("its year in UTC has no four digits");
  return unix_ms;
}

std::int64_t unix_now_us() {
  return std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::int64_t unix_now_ms() { return unix_now_us() / 1000; }

}  // namespace intilery::event
