#include "plan/decimal.hpp"

#include <algorithm>
#include <array>

namespace intilery::plan {

namespace {

constexpr std::int64_t max_exponent = 100'000'000'000'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

__extension__ using Wide = unsigned __int128;
__extension__ using SignedWide = __int128;

constexpr std::array<std::int64_t, 19> powers = [] {
  std::array<std::int64_t, 19> table{};
  std::int64_t power = 1;
  for (std::int64_t& entry : table) {
    entry = power;
    if (power < 1'000'000'000'000'000'000) power *= 10;
  }
  return table;
}();

std::int64_t power_of_ten(int exponent) { return powers[static_cast<std::size_t>(exponent)]; }

std::uint64_t times(std::uint64_t a, std::uint64_t b, std::uint64_t modulus) {
  return static_cast<std::uint64_t>(static_cast<Wide>(a) * b % modulus);
}

}  // namespace

Decimal::Decimal(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at != end && *at == '-') {
    negative_ = true;
    ++at;
  }
  const char* first = nullptr;  // digits that are not 0
  const char* last = nullptr;
  std::int64_t place = 0;  // how many digits stand before the point
  std::int64_t first_place = 0;
  std::int64_t last_place = 0;
  std::int64_t after = 0;
  bool fraction = false;
  for (; at != end && (is_digit(*at) || *at == '.'); ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    (fraction ? after : place) += 1;
    if (*at == '0') continue;
    last = at;
    last_place = place + after;
    if (first == nullptr) {
      first = at;
      first_place = last_place;
    }
  }
  std::int64_t exponent = 0;
  if (at != end) {  // e or E
    ++at;
    const bool down = *at == '-';
    if (down || *at == '+') ++at;
    for (; at != end; ++at) exponent = std::min(max_exponent, exponent * 10 + (*at - '0'));
    if (down) exponent = -exponent;
  }
  if (first == nullptr) {
    negative_ = false;
    return;
  }
  digits_ = {first, static_cast<std::size_t>(last - first) + 1};
  top_ = exponent + place - first_place + 1;
  low_ = exponent + place - last_place;
}

int Decimal::compare_magnitude(const Decimal& other) const {
  if (is_zero() || other.is_zero()) return static_cast<int>(other.is_zero()) - static_cast<int>(is_zero());
  if (top_ != other.top_) return top_ < other.top_ ? -1 : 1;
  auto left = digits_.begin();
  auto right = other.digits_.begin();
  for (;;) {
    if (left != digits_.end() && *left == '.') ++left;
    if (right != other.digits_.end() && *right == '.') ++right;
    if (left == digits_.end()) return right == other.digits_.end() ? 0 : -1;
    if (right == other.digits_.end()) return 1;
    if (*left != *right) return *left < *right ? -1 : 1;
    ++left;
    ++right;
  }
}

int Decimal::compare(const Decimal& other) const {
  if (negative_ != other.negative_) return negative_ ? -1 : 1;
  return negative_ ? other.compare_magnitude(*this) : compare_magnitude(other);
}

void Decimal::append_canonical(std::string& out) const {
  if (negative_) out += '-';
  for (const char c : digits_) {
    if (c != '.') out += c;
  }
  out += 'e' + std::to_string(is_zero() ? 0 : low_) + ';';
}

std::optional<Small> Small::of(std::string_view text) {
  Small number;
  const char* at = text.data();
  if (!read(at, at + text.size(), number)) return std::nullopt;
  return number;
}

bool Small::is_integer() const { return scale == 0 || significand % power_of_ten(scale) == 0; }

int Small::compare(const Small& other) const {
  if (scale == other.scale) return significand < other.significand ? -1 : significand > other.significand ? 1 : 0;
  const SignedWide left = static_cast<SignedWide>(significand) * power_of_ten(other.scale);
  const SignedWide right = static_cast<SignedWide>(other.significand) * power_of_ten(scale);
  return left < right ? -1 : left > right ? 1 : 0;
}

bool Divisor::accepts(std::string_view text) {
  const Decimal number(text);
  return !number.is_zero() && !number.negative_ &&
         std::count_if(number.digits_.begin(), number.digits_.end(), is_digit) <= max_digits;
}

Divisor::Divisor(std::string_view text) {
  const Decimal number(text);
  for (const char c : number.digits_) {
    if (c != '.') significand_ = significand_ * 10 + static_cast<std::uint64_t>(c - '0');
  }
  low_ = number.low_;
}

bool Divisor::divides(const Small& number) const {
  // number = s / 10^scale, divisor = d * 10^low.
  const std::int64_t shift = -low_ - number.scale;
  if (shift < 0 || shift > 18) {
    std::string text = std::to_string(number.significand) + "e-" + std::to_string(number.scale);
    return divides(Decimal(text));
  }
  if (significand_ == 1) return true;
  const auto magnitude = static_cast<std::uint64_t>(number.significand < 0 ? -number.significand : number.significand);
  const Wide shifted = static_cast<Wide>(magnitude) * static_cast<std::uint64_t>(power_of_ten(static_cast<int>(shift)));
  if (shifted <= ~std::uint64_t{0}) return static_cast<std::uint64_t>(shifted) % significand_ == 0;
  return shifted % significand_ == 0;
}

bool Divisor::divides(const Decimal& number) const {
  if (number.is_zero()) return true;
  // A number's last digit is not 0, so nothing with a 0 more can divide it.
  if (number.low_ < low_) return false;
  std::uint64_t rest = 0;
  for (const char c : number.digits_) {
    if (c != '.') rest = static_cast<std::uint64_t>((static_cast<Wide>(rest) * 10 + (c - '0')) % significand_);
  }
  std::uint64_t power = 10 % significand_;
  for (std::int64_t zeros = number.low_ - low_; zeros > 0 && rest != 0; zeros /= 2) {
    if (zeros % 2 == 1) rest = times(rest, power, significand_);
    power = times(power, power, significand_);
  }
  return rest == 0;
}

}  // namespace intilery::plan
