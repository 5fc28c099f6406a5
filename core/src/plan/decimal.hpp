/// \file
/// JSON numbers as they stand on the wire, exactly and without a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace intilery::plan {

/// A view on a JSON number's text: ±0.d₁d₂… × 10^top, without zeros at either end. The text must outlive it.
/// Exponents beyond ±10^17 are taken for that.
class Decimal {
 public:
  /// `text` is a JSON number.
  explicit Decimal(std::string_view text);

  bool is_integer() const { return is_zero() || low_ >= 0; }
  /// Negative, 0 or positive, as this is less than, equal to or greater than the other.
  int compare(const Decimal& other) const;
  /// Appends a text that two numbers share if and only if they are equal.
  void append_canonical(std::string& out) const;

 private:
  friend class Divisor;
  bool is_zero() const { return digits_.empty(); }
  int compare_magnitude(const Decimal& other) const;

  bool negative_ = false;
  std::string_view digits_;  ///< From the first to the last that is not 0; may hold the point.
  std::int64_t top_ = 0;     ///< The power of ten just above the first digit.
  std::int64_t low_ = 0;     ///< The power of ten of the last digit.
};

/// The numbers that are met nearly always: at most 18 digits, no exponent. ±significand / 10^scale, exactly.
struct Small {
  std::int64_t significand = 0;
  int scale = 0;

  /// Reads the number that begins at `at`, and moves `at` past it. False, with `at` where it was: it is no such number.
  static bool read(const char*& at, const char* end, Small& number);
  /// The same for a whole text.
  static std::optional<Small> of(std::string_view text);

  bool is_integer() const;
  /// As Decimal's.
  int compare(const Small& other) const;
};

inline bool Small::read(const char*& at, const char* end, Small& number) {
  const char* next = at;
  const bool negative = *next == '-';
  if (negative) ++next;
  const char* const first = next;
  std::int64_t significand = 0;
  // 19 characters: 18 digits and a point.
  const char* const limit = end - next > 19 ? next + 19 : end;
  const char* point = nullptr;
  for (; next != limit; ++next) {
    if ((*next >= '0' && *next <= '9')) {
      significand = significand * 10 + (*next - '0');
    } else if (*next == '.') {
      point = next;
    } else {
      break;
    }
  }
  if (next != end && ((*next >= '0' && *next <= '9') || *next == 'e' || *next == 'E' || *next == '.')) return false;
  if (next - first > 18 && point == nullptr) return false;
  number.significand = negative ? -significand : significand;
  number.scale = point == nullptr ? 0 : static_cast<int>(next - point) - 1;
  at = next;
  return true;
}

/// The number of `multipleOf`.
class Divisor {
 public:
  static constexpr int max_digits = 18;  ///< Significant ones.

  /// False for a number that is not above 0, or has too many digits.
  static bool accepts(std::string_view text);
  /// `text` is one that `accepts`.
  explicit Divisor(std::string_view text);

  bool divides(const Decimal& number) const;
  bool divides(const Small& number) const;

 private:
  std::uint64_t significand_ = 0;
  std::int64_t low_ = 0;
};

}  // namespace intilery::plan
