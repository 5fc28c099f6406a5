/// \file
/// What is said of failures that nobody observes. C++ and Python use it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "intilery/errors.hpp"

namespace intilery {

/// At most one line a second for each reason, with a count. For one thread.
class FailureLog {
 public:
  /// \returns the line to write now, if any.
  std::string add(const ErrorInfo& error) {
    const auto now = std::chrono::steady_clock::now();
    Entry& entry = entries_[error.code];
    ++entry.unsaid;
    if (now - entry.said < std::chrono::seconds(1)) return "";
    entry.said = now;
    return std::to_string(std::exchange(entry.unsaid, 0)) + " not delivered (" + error.code + "): " + error.message;
  }
  /// What is left to say at the end, a line for each reason.
  std::vector<std::string> rest() {
    std::vector<std::string> lines;
    for (auto& [code, entry] : entries_) {
      if (entry.unsaid == 0) continue;
      lines.push_back(std::to_string(std::exchange(entry.unsaid, 0)) + " more not delivered (" + code + ")");
    }
    return lines;
  }

 private:
  struct Entry {
    std::chrono::steady_clock::time_point said{};
    std::uint64_t unsaid = 0;
  };
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace intilery
