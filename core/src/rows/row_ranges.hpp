/// \file
/// Numbers of rows, of which most follow each other.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace intilery::rows {

/// A set of row numbers, from 1 on. It takes memory for its gaps, and not for its rows.
class RowRanges {
 public:
  void add(std::uint64_t row);
  bool contains(std::uint64_t row) const;

  /// For each range how many rows are left out before it, and how many are in it: rows 1 to 5 and 8 are "0+5 2+1".
  std::string text() const;
  /// \throws std::invalid_argument if it is not what `text` gives.
  static RowRanges parse(std::string_view text);

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  ///< The first row of each, and the last; none touches another.
};

}  // namespace intilery::rows
