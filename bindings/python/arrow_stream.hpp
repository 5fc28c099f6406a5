/// \file
/// Reads columns of text and of integers through Arrow's C stream interface, without Arrow's library.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

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

namespace intilery::python {

/// A stream's batches, one at a time. Needs no GIL. Throws std::runtime_error for what the producer says went wrong,
/// and for a type that is none of: utf8, large_utf8, utf8_view, int64, null.
class ArrowStream {
 public:
  /// \param stream is used in place, and not released.
  explicit ArrowStream(ArrowArrayStream* stream);
  ~ArrowStream();
  ArrowStream(const ArrowStream&) = delete;
  ArrowStream& operator=(const ArrowStream&) = delete;

  std::size_t columns() const { return kinds_.size(); }
  /// Goes to the next batch. False: there is none.
  bool next();
  /// Rows in the batch.
  std::int64_t size() const { return batch_.length; }
  /// A cell of the batch. A text whose `data()` is null is null; the view lives until `next`.
  std::string_view text(std::size_t column, std::int64_t row) const;
  std::optional<std::int64_t> integer(std::size_t column, std::int64_t row) const;

 private:
  enum class Kind : std::uint8_t { utf8, large_utf8, utf8_view, int64, null };
  bool valid(const ArrowArray& column, std::int64_t index) const;
  [[noreturn]] void fail() const;

  ArrowArrayStream* stream_;
  ArrowArray batch_{};
  std::vector<Kind> kinds_;
};

}  // namespace intilery::python
