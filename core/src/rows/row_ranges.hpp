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
  void add(std::uint64_t row) { add(row, row); }
  /// Adds all from `first` to `last`.
  void add(std::uint64_t first, std::uint64_t last);
  bool contains(std::uint64_t row) const;

  /// For each range how many rows are left out before it, and how many are in it: rows 1 to 5 and 8 are "0+5 2+1".
  std::string text() const;
  /// \throws std::invalid_argument if it is not what `text` gives.
  static RowRanges parse(std::string_view text);

  /// Adds rows one by one; those that follow each other at once, at the latest when it ends.
  class Run {
   public:
    explicit Run(RowRanges& rows) : rows_(rows) {}
    ~Run() { flush(); }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    void add(std::uint64_t row) {
      if (row != next_) {
        flush();
        first_ = row;
      }
      next_ = row + 1;
    }

   private:
    void flush() {
      if (first_ != next_) rows_.add(first_, next_ - 1);
    }
    RowRanges& rows_;
    std::uint64_t first_ = 0;
    std::uint64_t next_ = 0;
  };

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  ///< The first row of each, and the last; none touches another.
};

}  // namespace intilery::rows
