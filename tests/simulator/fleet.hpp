/// \file
/// Many processes on one account.
#pragma once

#include <cstddef>

namespace intilery::simulator {

/// Prints the table of docs/fleets.md. \param only if not 0, for so many processes only. \returns 0.
int fleets(std::size_t only);

}  // namespace intilery::simulator
