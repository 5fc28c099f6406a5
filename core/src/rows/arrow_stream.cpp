#include "rows/arrow_stream.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "event/bad_value.hpp"
#include "event/json_check.hpp"

namespace intilery::rows {

using event::JsonWriter;

namespace {

/// Text that must be of a kind. \returns null: it is not.
char* write_number(JsonWriter& out, char* at, std::string_view text) {
  return event::is_number(text) ? out.literal(at, text) : nullptr;
}

char* write_boolean(char* at, std::string_view text) {
  const auto is = [&](std::string_view word) {
    return std::equal(text.begin(), text.end(), word.begin(), word.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
  };
  return is("true") || is("false") ? JsonWriter::boolean(at, is("true")) : nullptr;
}

char* write_cell(JsonWriter& out, char* at, const BodyColumn& column, const ArrowColumn& values, std::int64_t row,
                 bool lenient) {
  using Form = BodyColumn::Form;
  if (column.form == Form::value || values.is_null(row)) return values.write(out, at, row, lenient);
  const std::string_view text = values.text(row);
  if (column.form == Form::json) {
    const std::string_view json = event::trim(text);
    if (!lenient) event::check_json(json, nullptr, JsonWriter::max_depth - out.depth());
    return out.literal(at, json);
  }
  if (char* const end = column.form == Form::number ? write_number(out, at, text) : write_boolean(at, text)) return end;
  if (lenient) return write_any_text(out, at, text);
  throw event::BadValue{"wrong_type", "is not of its column's kind; the values at the source's beginning decide that",
                        ""};
}

}  // namespace

ArrowStream::ArrowStream(ArrowArrayStream* stream, std::vector<BodyColumn> body, bool sparse)
    : stream_(stream), body_(std::move(body)), sparse_(sparse) {
  struct Schema : ArrowSchema {
    ~Schema() {
      if (release != nullptr) release(this);
    }
  } schema{};
  if (stream_->get_schema(stream_, &schema) != 0) fail();
  for (std::int64_t i = 0; i < schema.n_children; ++i) columns_.emplace_back(*schema.children[i]);
  if (columns_.size() < body_.size()) throw std::runtime_error("an Arrow stream has too few columns");
  for (BodyColumn& column : body_) {
    JsonWriter key;
    key.string(column.name);
    key.literal(":");
    column.key = key.view();
  }
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
  if (batch_.release == nullptr) return false;
  if (batch_.n_children < static_cast<std::int64_t>(columns_.size()))
    throw std::runtime_error("an Arrow batch has too few columns");
  for (std::size_t i = 0; i < columns_.size(); ++i) columns_[i].bind(*batch_.children[i], batch_.offset);
  return true;
}

std::string_view ArrowStream::text(std::size_t column, std::int64_t row) const {
  const ArrowColumn& values = columns_[column];
  if (values.is_null(row)) return {};
  if (!values.is_text()) throw std::runtime_error("an Arrow column is not of text");
  return values.text(row);
}

std::optional<std::int64_t> ArrowStream::integer(std::size_t column, std::int64_t row) const {
  const ArrowColumn& values = columns_[column];
  if (values.is_null(row)) return std::nullopt;
  if (!values.is_int64()) throw std::runtime_error("an Arrow column is not of integers");
  return values.integer(row);
}

void ArrowStream::write_body(JsonWriter& out, std::int64_t row) const {
  out.reserve(JsonWriter::small);
  char* const at = write_members(out, out.open(out.end(), '{'), row, false);
  out.set_end(out.close(at, '}'));
}

char* ArrowStream::write_members(JsonWriter& out, char* at, std::int64_t row) const {
  const int depth = out.depth();
  out.set_depth(-1'000);  // what is too deep for an event is shown all the same
  at = write_members(out, at, row, true);
  out.set_depth(depth);
  return at;
}

char* ArrowStream::write_members(JsonWriter& out, char* at, std::int64_t row, bool lenient) const {
  const std::size_t first = columns_.size() - body_.size();
  for (std::size_t i = 0; i < body_.size(); ++i) {
    const ArrowColumn& values = columns_[first + i];
    if (sparse_ && values.is_null(row)) continue;
    at = out.literal(at, body_[i].key);
    at = event::under(body_[i].name, [&] { return write_cell(out, at, body_[i], values, row, lenient); });
    *at++ = ',';
  }
  return at;
}

}  // namespace intilery::rows
