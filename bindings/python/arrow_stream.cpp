#include "arrow_stream.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

namespace intilery::python {

namespace {

template <class Offset>
std::string_view between_offsets(const ArrowArray& column, std::int64_t index) {
  const auto* offsets = static_cast<const Offset*>(column.buffers[1]) + index;
  const auto* bytes = static_cast<const char*>(column.buffers[2]);
  // Of empty texts only, the buffer may be null; a null view would mean null.
  return bytes == nullptr ? std::string_view("") : std::string_view(bytes + offsets[0], offsets[1] - offsets[0]);
}

/// 16 bytes: the length, then up to 12 bytes of text, or 4 of it, a buffer's number and an offset there.
std::string_view view_at(const ArrowArray& column, std::int64_t index) {
  const char* view = static_cast<const char*>(column.buffers[1]) + 16 * index;
  std::int32_t size = 0;
  std::memcpy(&size, view, 4);
  if (size <= 12) return {view + 4, static_cast<std::size_t>(size)};
  std::int32_t buffer = 0;
  std::int32_t offset = 0;
  std::memcpy(&buffer, view + 8, 4);
  std::memcpy(&offset, view + 12, 4);
  return {static_cast<const char*>(column.buffers[2 + buffer]) + offset, static_cast<std::size_t>(size)};
}

}  // namespace

ArrowStream::ArrowStream(ArrowArrayStream* stream) : stream_(stream) {
  ArrowSchema schema{};
  if (stream_->get_schema(stream_, &schema) != 0) fail();
  std::string unknown;
  for (std::int64_t i = 0; i < schema.n_children; ++i) {
    const std::string_view format = schema.children[i]->format;
    if (format == "u") {
      kinds_.push_back(Kind::utf8);
    } else if (format == "U") {
      kinds_.push_back(Kind::large_utf8);
    } else if (format == "vu") {
      kinds_.push_back(Kind::utf8_view);
    } else if (format == "l") {
      kinds_.push_back(Kind::int64);
    } else if (format == "n") {
      kinds_.push_back(Kind::null);
    } else {
      unknown = format;
    }
  }
  if (schema.release != nullptr) schema.release(&schema);
  if (!unknown.empty()) throw std::runtime_error("an Arrow column has the format \"" + unknown + "\"");
}

ArrowStream::~ArrowStream() {
  if (batch_.release != nullptr) batch_.release(&batch_);
}

void ArrowStream::fail() const {
  const char* why = stream_->get_last_error(stream_);
  throw std::runtime_error(why != nullptr ? why : "the source could not be read");
}

bool ArrowStream::next() {
  if (batch_.release != nullptr) batch_.release(&batch_);
  batch_ = {};
  if (stream_->get_next(stream_, &batch_) != 0) {
    batch_ = {};
    fail();
  }
  return batch_.release != nullptr;
}

bool ArrowStream::valid(const ArrowArray& column, std::int64_t index) const {
  const auto* bits = static_cast<const std::uint8_t*>(column.buffers[0]);
  return column.null_count == 0 || bits == nullptr || ((bits[index / 8] >> (index % 8)) & 1) != 0;
}

std::string_view ArrowStream::text(std::size_t column, std::int64_t row) const {
  if (kinds_[column] == Kind::null) return {};
  const ArrowArray& array = *batch_.children[column];
  const std::int64_t index = batch_.offset + array.offset + row;
  if (!valid(array, index)) return {};
  switch (kinds_[column]) {
    case Kind::utf8:
      return between_offsets<std::int32_t>(array, index);
    case Kind::large_utf8:
      return between_offsets<std::int64_t>(array, index);
    case Kind::utf8_view:
      return view_at(array, index);
    default:
      throw std::runtime_error("an Arrow column is not of text");
  }
}

std::optional<std::int64_t> ArrowStream::integer(std::size_t column, std::int64_t row) const {
  if (kinds_[column] == Kind::null) return std::nullopt;
  if (kinds_[column] != Kind::int64) throw std::runtime_error("an Arrow column is not of integers");
  const ArrowArray& array = *batch_.children[column];
  const std::int64_t index = batch_.offset + array.offset + row;
  if (!valid(array, index)) return std::nullopt;
  return static_cast<const std::int64_t*>(array.buffers[1])[index];
}

}  // namespace intilery::python
