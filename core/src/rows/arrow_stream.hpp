/// \file
/// Rows of a table through Arrow's C stream interface.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/json_writer.hpp"
#include "rows/arrow_column.hpp"

namespace intilery::rows {

/// A column of a row's body.
struct BodyColumn {
  enum class Form : std::uint8_t {
    value,    ///< What its type says.
    json,     ///< Text that is JSON.
    number,   ///< Text that must be a number, and goes as it is written.
    boolean,  ///< Text that must be `true` or `false`, in any case.
  };
  std::string name;
  Form form = Form::value;
  std::string key = {};  ///< As JSON, with the colon: the stream's business.
};

/// A stream's batches, one at a time. Throws std::runtime_error for what the producer says went wrong, and for a type
/// that ArrowColumn does not know.
class ArrowStream {
 public:
  /// \param stream is used in place, and not released.
  /// \param body says what its last columns are.
  /// \param sparse nulls are left out of the body.
  ArrowStream(ArrowArrayStream* stream, std::vector<BodyColumn> body, bool sparse);
  ~ArrowStream();
  ArrowStream(const ArrowStream&) = delete;
  ArrowStream& operator=(const ArrowStream&) = delete;

  /// Goes to the next batch. False: there is none.
  bool next();
  /// Rows in the batch.
  std::int64_t size() const { return batch_.length; }
  /// A cell of the batch. A text whose `data()` is null is null; the view lives until `next`.
  std::string_view text(std::size_t column, std::int64_t row) const;
  std::optional<std::int64_t> integer(std::size_t column, std::int64_t row) const;
  /// Writes a row's body as a JSON object.
  /// \throws BadValue
  void write_body(event::JsonWriter& out, std::int64_t row) const;
  /// Writes the members of it, for people: what JSON cannot hold is text there.
  char* write_members(event::JsonWriter& out, char* at, std::int64_t row) const;

 private:
  [[noreturn]] void fail() const;
  char* write_members(event::JsonWriter& out, char* at, std::int64_t row, bool lenient) const;

  ArrowArrayStream* stream_;
  std::vector<BodyColumn> body_;
  bool sparse_;
  ArrowArray batch_{};
  std::vector<ArrowColumn> columns_;
};

}  // namespace intilery::rows
