/// \file
/// Percent-encoding, as of RFC 3986.
#pragma once

#include <string>
#include <string_view>

namespace intilery {

/// All but the unreserved characters become `%XX`.
std::string percent_encoded(std::string_view text);

/// What is no `%XX` stays as it is.
std::string percent_decoded(std::string_view text);

}  // namespace intilery
