#include "rows/line_splitter.hpp"

#include <algorithm>

namespace intilery::rows {

namespace {

/// So much is kept of a line that is too long.
constexpr std::size_t beginning = 1'000;

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// What may stand around a line: the mark, and a CR.
constexpr std::size_t around = 4;

}  // namespace

void LineSplitter::feed(std::string_view bytes) {
  if (dropping_ && searched_ == buffer_.size()) {
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end);
  }
  buffer_.erase(0, at_);
  searched_ -= at_;
  at_ = 0;
  buffer_ += bytes;
}

bool LineSplitter::next() {
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched_);
    if (end != std::string::npos) {
      take(end, end + 1);
    } else if (ended_ && at_ < buffer_.size()) {
      take(buffer_.size(), buffer_.size());
    } else {
      if (buffer_.size() - at_ > max_size_ + around) {
        buffer_.resize(at_ + std::min(beginning, max_size_) + around);
        buffer_.shrink_to_fit();
        dropping_ = true;
      }
      searched_ = buffer_.size();
      return false;
    }
    if (!line_.empty()) return true;
  }
}

void LineSplitter::take(std::size_t end, std::size_t next) {
  line_ = std::string_view(buffer_).substr(at_, end - at_);
  at_ = searched_ = next;
  if (++number_ == 1 && line_.starts_with(byte_order_mark)) line_.remove_prefix(byte_order_mark.size());
  if (line_.ends_with('\r')) line_.remove_suffix(1);
  too_long_ = dropping_ || line_.size() > max_size_;
  dropping_ = false;
  if (too_long_) line_ = line_.substr(0, std::min(beginning, max_size_));
}

}  // namespace intilery::rows
