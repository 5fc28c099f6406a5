/// \file
/// Bytes that come in pieces, as lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace intilery::rows {

/// Lines end with LF or CRLF, the last one also with the text. Blank ones are skipped, and a byte order mark at the
/// beginning is no part of the first. Not thread-safe.
class LineSplitter {
 public:
  /// \param max_size of a longer line only the beginning is kept.
  explicit LineSplitter(std::size_t max_size) : max_size_(max_size) {}

  void feed(std::string_view bytes);
  /// What was fed so far ends here: the last line needs no end of its own.
  void end() { ended_ = true; }

  /// Goes to the next line. False: it is not complete yet.
  bool next();

  /// The line, valid until the next call of `feed` or `next`.
  std::string_view line() const { return line_; }
  /// Whether the line is longer than `max_size`, so that `line` is not all of it.
  bool too_long() const { return too_long_; }
  /// Which line of the text it is, from 1; blank ones count.
  std::uint64_t number() const { return number_; }

 private:
  void take(std::size_t end, std::size_t next);

  const std::size_t max_size_;
  std::string buffer_;
  std::size_t at_ = 0;        ///< The buffer's bytes before this are done with.
  std::size_t searched_ = 0;  ///< No line ends between `at_` and this.
  bool dropping_ = false;     ///< Of the line at `at_` only the beginning is there.
  bool ended_ = false;

  std::string_view line_;
  bool too_long_ = false;
  std::uint64_t number_ = 0;
};

}  // namespace intilery::rows
