/// \file
/// How a language writes an option's name.
#pragma once

#include <string>
#include <string_view>

#include "intilery/options.hpp"

namespace intilery {

/// \param name in snake_case.
std::string styled(std::string_view name, const OptionStyle& style);

}  // namespace intilery
