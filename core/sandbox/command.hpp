/// \file
/// The sandbox as a command: `intilery-sandbox`, `python -m intilery sandbox`, `npx intilery sandbox`.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace intilery::testing {

/// Runs the sandbox until `interrupted` says so (it is asked ten times a second). The first line on standard output is
/// the URL.
/// \param name of the program, for its help.
/// \param args without the program's name.
/// \returns the exit status: 0, or 2 for a wrong option, 1 if the address cannot be bound.
int run_sandbox_command(const std::string& name, const std::vector<std::string>& args, const std::function<bool()>& interrupted);

}  // namespace intilery::testing
