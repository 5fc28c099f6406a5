/// \file
/// JSON text, written once, straight from the caller's objects.
#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "event/bad_value.hpp"
#include "event/json_scan.hpp"

namespace intilery::event {

/// Writes one JSON text into a buffer that is kept from event to event.
///
/// The text is RFC 8785's (JSON.stringify's) form, keys in the order given: no white space, shortest numbers, only what
/// must be escaped is escaped. Throws BadValue for what JSON cannot hold. Not thread-safe: one writer a thread.
///
/// A walker over some language's values writes hundreds of pieces in a row. For it there are the functions that take
/// `at`, where the next byte goes, and return what it is then: it stays in a register from `end()` to `set_end()`.
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

  /// A member's key, known to need no escape; its value must follow.
  void plain_key(std::string_view text) {
    assert(end_ > begin_.get());
    const char last = end_[-1];
    if (last != '{') literal(",");
    plain(text);
    literal(":");
  }
  /// UTF-8 text, which is checked.
  void string(std::string_view text) { end_ = string(end_, text); }
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
  void reserve(std::size_t count) { end_ = room(end_, count); }
  /// Cuts the text back to `size` bytes.
  void truncate(std::size_t size) { end_ = begin_.get() + size; }
  /// The byte at `position`, to be overwritten.
  char& at(std::size_t position) { return begin_.get()[position]; }

  char* end() const { return end_; }
  void set_end(char* at) { end_ = at; }
  /// Has room for `count` more bytes.
  char* room(char* at, std::size_t count) {
    if (static_cast<std::size_t>(limit_ - at) < count) [[unlikely]]
      return grow(at, count);
    return at;
  }
  /// Room for a comma, a number or a literal, and a brace, such as those that take `at` below want.
  static constexpr std::size_t small = 40;

  /// UTF-8 text, which is checked. Makes room for itself and for what is small.
  char* string(char* at, std::string_view text) {
    at = room(at, text.size() + 2 + scan::block + small);
    if (!scan::copy_plain<true>(at + 1, text.data(), text.size())) [[unlikely]]
      return checked(at, text);
    return quoted(at, text.size());
  }
  /// The same for text that is known to be UTF-8.
  char* trusted(char* at, std::string_view text) {
    at = room(at, text.size() + 2 + scan::block + small);
    if (!scan::copy_plain<false>(at + 1, text.data(), text.size())) [[unlikely]]
      return escaped(at, text);
    return quoted(at, text.size());
  }
  /// The same for JSON that is known to be right.
  char* literal(char* at, std::string_view json) {
    at = room(at, json.size() + small);
    std::memcpy(at, json.data(), json.size());
    return at + json.size();
  }
  // These need room for what is small.
  static char* null(char* at) { return four(at, "null"); }
  static char* boolean(char* at, bool value) {
    at = four(at, value ? "true" : "fals");
    if (!value) *at++ = 'e';
    return at;
  }
  static char* integer(char* at, std::int64_t value);
  static char* unsigned_integer(char* at, std::uint64_t value);
  /// Shortest text that reads back as the same double, in ECMAScript's form (RFC 8785, 3.2.2.3).
  static char* number(char* at, double value);

  /// How deep the writer is nested, from 0; -1 where one level more is allowed. A walker that recurses may ask.
  int depth() const { return depth_; }
  void set_depth(int depth) { depth_ = depth; }
  /// Opens a container. Needs room for one byte, and makes room for a small element.
  char* open(char* at, char brace) {
    if (depth_ >= max_depth) refuse_depth();
    ++depth_;
    *at = brace;
    return room(at + 1, small);
  }
  /// Closes it. Each element was followed by a comma, the last of which becomes the brace.
  char* close(char* at, char brace) {
    --depth_;
    if (at[-1] == ',') --at;
    *at = brace;
    return room(at + 1, small);
  }

 private:
  void append(std::string_view bytes) {
    std::memcpy(end_, bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  static char* quoted(char* at, std::size_t size) {
    at[0] = at[size + 1] = '"';
    return at + size + 2;
  }
  static char* four(char* at, const char* text) {
    std::memcpy(at, text, 4);
    return at + 4;
  }
  char* grow(char* at, std::size_t count);
  char* checked(char* at, std::string_view text);
  char* escaped(char* at, std::string_view text);

  std::unique_ptr<char[]> begin_;
  char* end_ = nullptr;    ///< One past the last byte written.
  char* limit_ = nullptr;  ///< One past the buffer.
  int depth_ = 0;
};

}  // namespace intilery::event
