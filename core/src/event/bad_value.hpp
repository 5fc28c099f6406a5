/// \file
/// A value that cannot travel, on its way from where it was met to the call.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace intilery::event {

/// Thrown while a value is written. Whoever walks a container catches it, puts the key or index before `path` and
/// throws it on, so that the path costs nothing until something is wrong. `encode` makes a ValidationError of it.
struct BadValue {
  std::string code;     ///< Stable; see docs/errors.md.
  std::string message;  ///< A sentence without subject: "is NaN, which JSON cannot hold; …".
  std::string path;     ///< `products[3].price`, relative to the container that throws it on.

  void under(std::string_view key);  ///< Puts an object's key before the path.
  void at(std::size_t index);        ///< Puts an array's index before the path.
};

/// Runs `body`, putting a key (or an index) before the path of a BadValue that it throws.
template <class Body>
auto under(std::string_view key, Body body) {
  try {
    return body();
  } catch (BadValue& bad) {
    bad.under(key);
    throw;
  }
}
template <class Body>
auto under(std::size_t index, Body body) {
  try {
    return body();
  } catch (BadValue& bad) {
    bad.at(index);
    throw;
  }
}

// The kinds of refusal that more than one language meets. Each throws BadValue.
[[noreturn]] void refuse_not_finite(double value);
[[noreturn]] void refuse_unsupported(std::string_view kind);  ///< `kind`: "set", "bytes", "function" …
[[noreturn]] void refuse_key(std::string_view kind);          ///< A key that is not text.
[[noreturn]] void refuse_text();                              ///< Invalid UTF-8, or a lone surrogate.
[[noreturn]] void refuse_cycle();
[[noreturn]] void refuse_depth();
[[noreturn]] void refuse_date();             ///< An invalid Date.
[[noreturn]] void refuse_naive_timestamp();  ///< An event's own timestamp without a zone.
[[noreturn]] void refuse_type(std::string_view expected, std::string_view met);  ///< "must be text, not a number".

}  // namespace intilery::event
