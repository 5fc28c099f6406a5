/// \file
/// What JSON.stringify may have hidden.
#pragma once

#include <string_view>

namespace intilery::node {

/// Whether text that JSON.stringify made may hide a value that it could not write, or wrote as something else. Then the
/// exact serialiser (node/values.cjs) must look at the value itself. May say yes without cause, never no wrongly.
///
///     null             NaN, infinity, an invalid Date (or an honest null)
///     {}               Map, Set, RegExp, Promise … (or an honest empty object)
///     {"0"             a typed array
///     {"type":"Buffer" a Buffer
///     \ud              half of a surrogate pair
///     over 64 brackets maybe too deep
///
/// Pure; any thread.
bool is_suspicious(std::string_view json);

}  // namespace intilery::node
