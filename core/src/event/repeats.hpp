/// \file
/// Which of its equals a row is.
#pragma once

#include <cstdint>
#include <cstring>
#include <unordered_map>

#include "event/message_id.hpp"

namespace intilery::event {

/// Counts equal rows where the order of rows is not certain, but only which rows there are: then a row's number among
/// its equals can tell them apart, as its place cannot. About 40 bytes for each row. Used by one thread.
class Repeats {
 public:
  /// \param row its place this time. Asked again for the same one, as for a row that found no room, the answer stays.
  /// \param content of what the row says; its beginning is told apart from other rows'.
  /// \returns 1 for the first of equal rows, and so on.
  std::uint64_t number(std::uint64_t row, const MessageId& content) {
    if (row != row_) {
      row_ = row;
      std::uint64_t key = 0;
      std::memcpy(&key, content.uuid().data(), sizeof key);
      number_ = ++seen_[key];
    }
    return number_;
  }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> seen_;
  std::uint64_t row_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace intilery::event
