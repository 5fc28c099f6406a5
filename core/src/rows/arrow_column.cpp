#include "rows/arrow_column.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "event/bad_value.hpp"

namespace intilery::rows {

using event::JsonWriter;

namespace {

bool bit(const void* bits, std::int64_t index) {
  return ((static_cast<const std::uint8_t*>(bits)[index / 8] >> (index % 8)) & 1) != 0;
}

template <class Offset>
std::string_view between_offsets(const void* const* buffers, std::int64_t index) {
  const auto* offsets = static_cast<const Offset*>(buffers[1]) + index;
  const auto* bytes = static_cast<const char*>(buffers[2]);
  // Of empty texts only, the buffer may be null; a null view would mean null.
  return bytes == nullptr ? std::string_view("") : std::string_view(bytes + offsets[0], offsets[1] - offsets[0]);
}

/// 16 bytes: the length, then up to 12 bytes of text, or 4 of it, a buffer's number and an offset there.
std::string_view view_at(const void* const* buffers, std::int64_t index) {
  const char* view = static_cast<const char*>(buffers[1]) + 16 * index;
  std::int32_t size = 0;
  std::memcpy(&size, view, 4);
  if (size <= 12) return {view + 4, static_cast<std::size_t>(size)};
  std::int32_t buffer = 0;
  std::int32_t offset = 0;
  std::memcpy(&buffer, view + 8, 4);
  std::memcpy(&offset, view + 12, 4);
  return {static_cast<const char*>(buffers[2 + buffer]) + offset, static_cast<std::size_t>(size)};
}

/// The digits of a number of up to 128 bits, before `end`. \returns where they begin.
char* digits_before(char* end, std::uint64_t high, std::uint64_t low) {
  constexpr std::uint64_t chunk = 1'000'000'000;
  while (high != 0) {  // long division by 10^9, in pieces of 32 bits
    std::uint64_t rest = high % chunk;
    high /= chunk;
    const std::uint64_t upper = rest << 32 | low >> 32;
    rest = upper % chunk;
    const std::uint64_t lower = rest << 32 | (low & 0xffffffff);
    low = (upper / chunk) << 32 | lower / chunk;
    rest = lower % chunk;
    for (int i = 0; i < 9; ++i, rest /= 10) *--end = static_cast<char>('0' + rest % 10);
  }
  do {
    *--end = static_cast<char>('0' + low % 10);
    low /= 10;
  } while (low != 0);
  return end;
}

/// A decimal of two's complement, with as many digits behind the point as its type says; zeros before it, if that is
/// negative.
char* write_decimal(JsonWriter& out, char* at, std::int64_t high, std::uint64_t low, int scale) {
  const bool negative = high < 0;
  auto upper = static_cast<std::uint64_t>(high);
  if (negative) {
    low = ~low + 1;
    upper = ~upper + (low == 0 ? 1 : 0);
  }
  std::array<char, 128> text;
  char* const end = text.data() + text.size();
  const int zeros = scale < 0 && (upper | low) != 0 ? -scale : 0;
  std::fill(end - zeros, end, '0');
  char* begin = digits_before(end - zeros, upper, low);
  if (scale > 0) {
    char* const least = end - scale - 1;
    while (begin > least) *--begin = '0';
    std::memmove(begin - 1, begin, static_cast<std::size_t>(end - scale - begin));
    --begin;
    *(end - scale - 1) = '.';
  }
  if (negative) *--begin = '-';
  return out.literal(at, {begin, static_cast<std::size_t>(end - begin)});
}

/// Writes the shortest digits that give the number back, in the form that SQL has.
char* write_float(JsonWriter& out, char* at, double value, bool lenient) {
  if (!std::isfinite(value)) {
    if (!lenient) event::refuse_not_finite(value);
    return out.literal(at, std::isnan(value) ? "\"nan\"" : value < 0 ? "\"-inf\"" : "\"inf\"");
  }
  const double size = std::fabs(value);
  const bool whole = value == std::trunc(value);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  if (fixed && !whole) return JsonWriter::number(at, value);
  if (fixed && size != 0 && size < 9007199254740992.0) {  // 2^53
    return out.literal(JsonWriter::integer(at, static_cast<std::int64_t>(value)), ".0");
  }
  std::array<char, 48> text;
  const char* const end = std::to_chars(text.data(), text.data() + text.size(), value,
                                        fixed ? std::chars_format::fixed : std::chars_format::scientific)
                              .ptr;
  at = out.literal(at, {text.data(), static_cast<std::size_t>(end - text.data())});
  return fixed ? out.literal(at, ".0") : at;
}

[[noreturn]] void refuse_format(std::string_view format) {
  throw std::runtime_error("an Arrow column has the format \"" + std::string(format) + "\"");
}

/// A number in a format.
std::int64_t number_of(std::string_view text, std::int64_t least, std::int64_t most, std::string_view format) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) refuse_format(format);
  return value;
}

/// The digits that a decimal's type may have behind its point, or zeros before it: those of 256 bits.
constexpr int most_scale = 76;

}  // namespace

char* write_any_text(JsonWriter& out, char* at, std::string_view text) {
  return out.literal(at, nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

ArrowColumn::Kind ArrowColumn::kind_of(std::string_view format) {
  constexpr std::pair<std::string_view, Kind> kinds[] = {
      {"n", Kind::null},       {"b", Kind::boolean},    {"c", Kind::int8},       {"C", Kind::uint8},
      {"s", Kind::int16},      {"S", Kind::uint16},     {"i", Kind::int32},      {"I", Kind::uint32},
      {"l", Kind::int64},      {"L", Kind::uint64},     {"g", Kind::float64},    {"u", Kind::utf8},
      {"U", Kind::large_utf8}, {"vu", Kind::utf8_view}, {"+s", Kind::structure}, {"+l", Kind::list},
      {"+L", Kind::large_list}};
  const auto* const known =
      std::find_if(std::begin(kinds), std::end(kinds), [&](const auto& kind) { return kind.first == format; });
  if (known != std::end(kinds)) return known->second;
  if (format.starts_with("+w:")) return Kind::fixed_list;
  if (format.starts_with("d:")) {
    const std::size_t width = format.find(',', format.find(',') + 1);
    const std::string_view bits = width == std::string_view::npos ? "128" : format.substr(width + 1);
    if (bits == "128") return Kind::decimal128;
    if (bits == "64") return Kind::decimal64;
    if (bits == "32") return Kind::decimal32;
  }
  refuse_format(format);
}

ArrowColumn::ArrowColumn(const ArrowSchema& schema) : kind_(kind_of(schema.format)) {
  if (schema.dictionary != nullptr) throw std::runtime_error("an Arrow column has a dictionary");
  const std::string_view format = schema.format;
  if (kind_ == Kind::fixed_list)
    count_ = number_of(format.substr(3), 0, std::numeric_limits<std::int32_t>::max(), format);
  if (format.starts_with("d:")) {  // precision, scale and perhaps the width
    const std::string_view rest = format.substr(std::min(format.find(','), format.size() - 1) + 1);
    scale_ = static_cast<int>(number_of(rest.substr(0, rest.find(',')), -most_scale, most_scale, format));
  }
  if ((kind_ == Kind::list || kind_ == Kind::large_list || kind_ == Kind::fixed_list) && schema.n_children != 1)
    refuse_format(format);
  for (std::int64_t i = 0; i < schema.n_children; ++i) {
    const ArrowSchema& child = *schema.children[i];
    children_.emplace_back(child);
    if (kind_ != Kind::structure) continue;
    const std::string name = child.name == nullptr ? "" : child.name;
    JsonWriter key;
    try {
      key.string(name);
    } catch (const event::BadValue& bad) {
      throw std::runtime_error("an Arrow column has a name that " + bad.message);
    }
    key.literal(":");
    keys_.push_back({name, std::string(key.view())});
  }
}

void ArrowColumn::bind(const ArrowArray& array, std::int64_t offset) {
  at_ = array.offset + offset;
  buffers_ = array.buffers;
  valid_ = kind_ == Kind::null || array.null_count == 0 ? nullptr : static_cast<const std::uint8_t*>(array.buffers[0]);
  values_ = array.n_buffers > 1 ? array.buffers[1] : nullptr;
  // A struct's offset counts for its members, too; a list's does not, since it says where its items are.
  for (std::size_t i = 0; i < children_.size(); ++i) {
    children_[i].bind(*array.children[i], kind_ == Kind::structure ? at_ : 0);
  }
}

bool ArrowColumn::is_null(std::int64_t row) const {
  return kind_ == Kind::null || (valid_ != nullptr && !bit(valid_, at_ + row));
}

std::string_view ArrowColumn::text(std::int64_t row) const {
  if (kind_ == Kind::utf8) return between_offsets<std::int32_t>(buffers_, at_ + row);
  if (kind_ == Kind::large_utf8) return between_offsets<std::int64_t>(buffers_, at_ + row);
  return view_at(buffers_, at_ + row);
}

char* ArrowColumn::write(JsonWriter& out, char* at, std::int64_t row, bool lenient) const {
  if (is_null(row)) return JsonWriter::null(at);
  switch (kind_) {
    case Kind::null:
      break;
    case Kind::boolean:
      return JsonWriter::boolean(at, bit(values_, at_ + row));
    case Kind::int8:
      return JsonWriter::integer(at, number<std::int8_t>(row));
    case Kind::uint8:
      return JsonWriter::integer(at, number<std::uint8_t>(row));
    case Kind::int16:
      return JsonWriter::integer(at, number<std::int16_t>(row));
    case Kind::uint16:
      return JsonWriter::integer(at, number<std::uint16_t>(row));
    case Kind::int32:
      return JsonWriter::integer(at, number<std::int32_t>(row));
    case Kind::uint32:
      return JsonWriter::integer(at, number<std::uint32_t>(row));
    case Kind::int64:
      return JsonWriter::integer(at, number<std::int64_t>(row));
    case Kind::uint64:
      return JsonWriter::unsigned_integer(at, number<std::uint64_t>(row));
    case Kind::float64:
      return write_float(out, at, number<double>(row), lenient);
    case Kind::decimal32: {
      const std::int64_t value = number<std::int32_t>(row);
      return write_decimal(out, at, value < 0 ? -1 : 0, static_cast<std::uint64_t>(value), scale_);
    }
    case Kind::decimal64: {
      const std::int64_t value = number<std::int64_t>(row);
      return write_decimal(out, at, value < 0 ? -1 : 0, static_cast<std::uint64_t>(value), scale_);
    }
    case Kind::decimal128: {
      const auto* const halves = static_cast<const std::uint64_t*>(values_) + 2 * (at_ + row);
      return write_decimal(out, at, static_cast<std::int64_t>(halves[1]), halves[0], scale_);
    }
    case Kind::utf8:
    case Kind::large_utf8:
    case Kind::utf8_view:
      return lenient ? write_any_text(out, at, text(row)) : out.string(at, text(row));
    case Kind::structure:
      return write_members(out, at, row, lenient);
    case Kind::list: {
      const auto* const offsets = static_cast<const std::int32_t*>(values_) + at_ + row;
      return write_items(out, at, offsets[0], offsets[1], lenient);
    }
    case Kind::large_list: {
      const auto* const offsets = static_cast<const std::int64_t*>(values_) + at_ + row;
      return write_items(out, at, offsets[0], offsets[1], lenient);
    }
    case Kind::fixed_list:
      return write_items(out, at, (at_ + row) * count_, (at_ + row + 1) * count_, lenient);
  }
  return JsonWriter::null(at);
}

char* ArrowColumn::write_members(JsonWriter& out, char* at, std::int64_t row, bool lenient) const {
  at = out.open(at, '{');
  for (std::size_t i = 0; i < children_.size(); ++i) {
    at = out.literal(at, keys_[i].json);
    at = event::under(keys_[i].name, [&] { return children_[i].write(out, at, row, lenient); });
    *at++ = ',';
  }
  return out.close(at, '}');
}

char* ArrowColumn::write_items(JsonWriter& out, char* at, std::int64_t from, std::int64_t to, bool lenient) const {
  at = out.open(at, '[');
  for (std::int64_t i = from; i < to; ++i) {
    at = event::under(static_cast<std::size_t>(i - from),
                      [&] { return children_.front().write(out, out.room(at, JsonWriter::small), i, lenient); });
    *at++ = ',';
  }
  return out.close(at, ']');
}

}  // namespace intilery::rows
