/// \file
/// What a read came to.
#pragma once

#include <optional>
#include <string>

#include "intilery/errors.hpp"

namespace intilery::delivery {

/// An answer to a read, or why there is none.
struct ReadResult {
  int status = 0;
  std::string body;
  std::optional<ErrorInfo> error;
};

}  // namespace intilery::delivery
