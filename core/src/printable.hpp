/// \file
/// Text from outside, on its way to a person.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace intilery {

/// Appends the first character of a text that is not empty so that a terminal is safe from it: control characters,
/// those that turn the direction of writing or break a line, and bytes that are no UTF-8 are shown as `\x1b`.
/// \returns how many bytes of the text it was.
std::size_t append_printable(std::string& out, std::string_view text);

/// The text's first `limit` bytes (a character is not cut), made safe in that way.
std::string printable(std::string_view text, std::size_t limit = std::numeric_limits<std::size_t>::max());

}  // namespace intilery
