/// \file
/// Columns of Arrow's C data interface, without Arrow's library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "event/json_writer.hpp"

// The structs of https://arrow.apache.org/docs/format/CDataInterface.html and CStreamInterface.html, as given there.
extern "C" {
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema** children;
  struct ArrowSchema* dictionary;
  void (*release)(struct ArrowSchema*);
  void* private_data;
};
struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  struct ArrowArray** children;
  struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*);
  void* private_data;
};
#endif
#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream {
  int (*get_schema)(struct ArrowArrayStream*, struct ArrowSchema* out);
  int (*get_next)(struct ArrowArrayStream*, struct ArrowArray* out);
  const char* (*get_last_error)(struct ArrowArrayStream*);
  void (*release)(struct ArrowArrayStream*);
  void* private_data;
};
#endif
}

namespace intilery::rows {

/// A column of one type, and the batch of its values that it is bound to.
class ArrowColumn {
 public:
  /// \throws std::runtime_error for a type that is none of: null, boolean, integers, float64, decimals of up to 128
  /// bits, utf8, large_utf8, utf8_view, struct, list, large_list, fixed-size list.
  explicit ArrowColumn(const ArrowSchema& schema);

  bool is_text() const { return kind_ == Kind::utf8 || kind_ == Kind::large_utf8 || kind_ == Kind::utf8_view; }
  bool is_int64() const { return kind_ == Kind::int64; }
  bool is_nothing() const { return kind_ == Kind::null; }

  /// Reads from that array on, whose first row is `offset` rows behind where the array itself begins.
  void bind(const ArrowArray& array, std::int64_t offset);

  // Of the batch:
  bool is_null(std::int64_t row) const;
  /// Of a column of text, where it is not null.
  std::string_view text(std::int64_t row) const;
  /// Of a column of 64-bit integers, where it is not null.
  std::int64_t integer(std::int64_t row) const { return static_cast<const std::int64_t*>(values_)[at_ + row]; }
  /// Writes the value as JSON at `at`, where there is room for what is small: decimals and integers exactly, a float
  /// with a point or an exponent, as SQL has it.
  /// \param lenient what JSON cannot hold becomes text.
  /// \throws BadValue
  char* write(event::JsonWriter& out, char* at, std::int64_t row, bool lenient) const;

 private:
  enum class Kind : std::uint8_t {
    null,
    boolean,
    int8,
    uint8,
    int16,
    uint16,
    int32,
    uint32,
    int64,
    uint64,
    float64,
    decimal32,
    decimal64,
    decimal128,
    utf8,
    large_utf8,
    utf8_view,
    structure,
    list,
    large_list,
    fixed_list,
  };
  struct Key {
    std::string name;
    std::string json;  ///< With the colon.
  };

  static Kind kind_of(std::string_view format);
  template <class Number>
  Number number(std::int64_t row) const {
    return static_cast<const Number*>(values_)[at_ + row];
  }
  char* write_members(event::JsonWriter& out, char* at, std::int64_t row, bool lenient) const;
  char* write_items(event::JsonWriter& out, char* at, std::int64_t from, std::int64_t to, bool lenient) const;

  Kind kind_;
  int scale_ = 0;                      ///< Of decimals.
  std::int64_t count_ = 0;             ///< Items in each list of a fixed size.
  std::vector<Key> keys_;              ///< Of a struct.
  std::vector<ArrowColumn> children_;  ///< Of a struct, or the one of a list.

  std::int64_t at_ = 0;  ///< Where the batch's first row is in the buffers.
  const std::uint8_t* valid_ = nullptr;
  const void* values_ = nullptr;          ///< Or offsets.
  const void* const* buffers_ = nullptr;  ///< All of them: of texts, the bytes.
};

/// Writes text, with what is no UTF-8 replaced.
char* write_any_text(event::JsonWriter& out, char* at, std::string_view text);

}  // namespace intilery::rows
