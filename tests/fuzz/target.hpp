/// \file
/// What a fuzz target is: a function that takes any bytes, and checks what must hold whatever they are.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <map>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace intilery::fuzz {

using Run = void (*)(std::string_view bytes);

/// All targets that are linked, by name.
std::map<std::string, Run>& targets();

/// Defines a target: `FUZZ_TARGET(name) { … bytes … }`. Any exception that leaves it is a finding.
#define FUZZ_TARGET(name)                                                          \
  static void run_##name(std::string_view bytes);                                  \
  static const bool name##_is_known = targets().emplace(#name, run_##name).second; \
  static void run_##name([[maybe_unused]] std::string_view bytes)

/// A property that does not hold.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};

inline void must(bool holds, const std::string& what,
                 const std::source_location& place = std::source_location::current()) {
  if (holds) return;
  throw Broken(std::string(place.file_name()) + ":" + std::to_string(place.line()) + ": " + what);
}

/// Takes an input apart, from the front. When it is used up, all is empty and zero.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  std::string_view rest() { return take(rest_.size()); }
  std::string_view take(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  /// Up to the separator, which is left out.
  std::string_view until(std::string_view separator) {
    const std::size_t end = rest_.find(separator);
    const std::string_view taken = take(std::min(end, rest_.size()));
    take(separator.size());
    return taken;
  }
  std::string_view line() { return until("\n"); }
  char letter() { return empty() ? '\0' : take(1).front(); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(letter()); }
  std::size_t below(std::size_t bound) { return byte() % bound; }
  bool flag() { return (byte() & 1) != 0; }
  template <class Number>
  Number number() {
    Number value{};
    const std::string_view taken = take(sizeof value);
    std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  /// The decimal number at the beginning of a text, or 0.
  template <class Number = std::int64_t>
  static Number decimal(std::string_view text) {
    Number value{};
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

 private:
  std::string_view rest_;
};

}  // namespace intilery::fuzz
