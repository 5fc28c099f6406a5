/// \file
/// Many processes on one account.
#pragma once

namespace intilery::simulator {

/// Prints the table of docs/fleets.md. \returns 0.
int fleets(bool quick);

}  // namespace intilery::simulator
