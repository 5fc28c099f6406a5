/// \file
/// JSON text, written once, straight from the caller's objects.
#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "event/bad_value.hpp"

namespace intilery::event {

/// Writes one JSON text into a buffer that is kept from event to event.
///
/// The text is RFC 8785's (JSON.stringify's) form, keys in the order given: no white space, shortest numbers, only what
/// must be escaped is escaped. Throws BadValue for what JSON cannot hold. Not thread-safe: one writer a thread.
class JsonWriter {
 public:
  /// Deepest nesting of one value (an event's own braces do not count).
  static constexpr int max_depth = 64;

  explicit JsonWriter(std::size_t capacity = 4096);

  void clear() {
    end_ = begin_.get();
    depth_ = 0;
  }
  std::string_view view() const { return {begin_.get(), size()}; }
  std::size_t size() const { return static_cast<std::size_t>(end_ - begin_.get()); }

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  /// A member's key; its value must follow.
  void key(std::string_view text) {
    separate();
    string(text);
    put(':');
  }
  /// A key known to need no escape.
  void plain_key(std::string_view text) {
    separate();
    plain(text);
    put(':');
  }
  /// Must come before each value of an array.
  void element() { separate(); }
  /// A comma, unless the container was just opened. With `colon`, for a key that is known to be UTF-8.
  void separate() {
    assert(end_ > begin_.get());
    const char last = end_[-1];
    if (last != '{' && last != '[') put(',');
  }
  void colon() { put(':'); }

  void null() { literal("null"); }
  void boolean(bool value) { literal(value ? std::string_view("true") : std::string_view("false")); }
  void integer(std::int64_t value);
  void unsigned_integer(std::uint64_t value);
  /// Shortest text that reads back as the same double, in ECMAScript's form (RFC 8785, 3.2.2.3).
  void number(double value);
  /// UTF-8 text, which is checked.
  void string(std::string_view text);
  /// Text known to be UTF-8.
  void trusted(std::string_view text);
  /// Text known to need no escape.
  void plain(std::string_view text) {
    reserve(text.size() + 2);
    *end_++ = '"';
    append(text);
    *end_++ = '"';
  }
  /// The same for a text that is known when this is compiled: its size is, too.
  template <std::size_t N>
  void fixed(const char (&json)[N]) {
    reserve(N - 1);
    std::memcpy(end_, json, N - 1);
    end_ += N - 1;
  }
  /// JSON that is known to be right.
  void literal(std::string_view json) {
    reserve(json.size());
    append(json);
  }

  /// Makes room for `count` more bytes, so that the next writes need not look.
  void reserve(std::size_t count) {
    if (static_cast<std::size_t>(limit_ - end_) < count) grow(count);
  }
  /// Cuts the text back to `size` bytes.
  void truncate(std::size_t size) { end_ = begin_.get() + size; }
  /// The byte at `position`, to be overwritten.
  char& at(std::size_t position) { return begin_.get()[position]; }

  /// How deep the writer is nested, from 0; -1 where one level more is allowed. A walker that recurses may ask.
  int depth() const { return depth_; }
  void set_depth(int depth) { depth_ = depth; }

 private:
  void open(char brace) {
    if (depth_ >= max_depth) refuse_depth();
    ++depth_;
    put(brace);
  }
  void close(char brace) {
    assert(depth_ > 0);
    --depth_;
    put(brace);
  }
  void put(char byte) {
    reserve(1);
    *end_++ = byte;
  }
  void append(std::string_view bytes) {
    std::memcpy(end_, bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void grow(std::size_t count);
  void escaped(const char* from, const char* end);

  std::unique_ptr<char[]> begin_;
  char* end_ = nullptr;    ///< One past the last byte written.
  char* limit_ = nullptr;  ///< One past the buffer.
  int depth_ = 0;
};

}  // namespace intilery::event
