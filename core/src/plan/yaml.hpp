/// \file
#pragma once

#include <string_view>

#include "plan/document.hpp"

namespace intilery::plan {

/// As `read_document`, for YAML. `text` is UTF-8.
Node read_yaml(std::string_view text);

}  // namespace intilery::plan
