/// \file
/// The sandbox as a command: `intilery-sandbox`, `python -m intilery sandbox`, `npx intilery sandbox`.
#pragma once

#include <string>
#include <vector>

namespace intilery::testing {

/// Runs the sandbox until SIGINT or SIGTERM, for which it sets the process's handlers meanwhile. The first line on
/// standard output is the URL. For one thread at a time.
/// \param name of the program, for its help.
/// \param args without the program's name.
/// \returns the exit status: 0, or 2 for a wrong option, 1 if the address cannot be bound.
int run_sandbox_command(const std::string& name, const std::vector<std::string>& args);

}  // namespace intilery::testing
