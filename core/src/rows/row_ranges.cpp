#include "rows/row_ranges.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <stdexcept>

namespace intilery::rows {

void RowRanges::add(std::uint64_t first, std::uint64_t last) {
  auto next = ranges_.upper_bound(first);
  auto own = next;
  if (next != ranges_.begin() && std::prev(next)->second + 1 >= first) {
    own = std::prev(next);
    own->second = std::max(own->second, last);
  } else {
    own = ranges_.emplace_hint(next, first, last);
  }
  while (next != ranges_.end() && next->first <= own->second + 1) {
    own->second = std::max(own->second, next->second);
    next = ranges_.erase(next);
  }
}

bool RowRanges::contains(std::uint64_t row) const {
  const auto next = ranges_.upper_bound(row);
  return next != ranges_.begin() && std::prev(next)->second >= row;
}

std::string RowRanges::text() const {
  std::string text;
  std::uint64_t end = 1;
  for (const auto& [first, last] : ranges_) {
    if (!text.empty()) text += ' ';
    text += std::to_string(first - end) + "+" + std::to_string(last - first + 1);
    end = last + 1;
  }
  return text;
}

RowRanges RowRanges::parse(std::string_view text) {
  RowRanges rows;
  std::uint64_t end = 1;
  const char* at = text.data();
  const char* const stop = at + text.size();
  const auto number = [&](std::uint64_t least) {
    std::uint64_t value = 0;
    const auto [behind, error] = std::from_chars(at, stop, value);
    if (error != std::errc() || value < least || value > std::numeric_limits<std::uint64_t>::max() / 4 - end)
      throw std::invalid_argument("these are no ranges of rows");
    at = behind;
    return value;
  };
  const auto skip = [&](char expected) {
    if (at == stop || *at++ != expected) throw std::invalid_argument("these are no ranges of rows");
  };
  while (at != stop) {
    const bool first = rows.ranges_.empty();
    if (!first) skip(' ');
    const std::uint64_t from = end + number(first ? 0 : 1);
    skip('+');
    end = from + number(1);
    rows.ranges_.emplace_hint(rows.ranges_.end(), from, end - 1);
  }
  return rows;
}

}  // namespace intilery::rows
