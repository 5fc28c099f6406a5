/// \file
/// What the programs here share: clocks, the payload, and how they print.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "intilery/intilery.hpp"

namespace intilery::bench {

/// Nanoseconds of one of the system's clocks.
inline double ns_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}
inline double wall_ns() { return ns_of(CLOCK_MONOTONIC); }
inline double process_ns() { return ns_of(CLOCK_PROCESS_CPUTIME_ID); }
inline double thread_ns() { return ns_of(CLOCK_THREAD_CPUTIME_ID); }

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}
inline double least(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }
inline double most(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

/// Of a client that nothing but the machine holds back.
inline Options options_for(const std::string& endpoint) {
  return {.client_id = "hea",
          .account_id = "hea",
          .brand_id = "HEA",
          .auth_token = "sandbox-token",
          .endpoint = endpoint,
          .rate_limit = 1e9,
          .burst = 1e9,
          .on_full = OnFull::block,
          .block_timeout = std::chrono::minutes(10)};
}

/// Waits until all is delivered. \throws std::runtime_error if some was not.
inline void deliver_all(Client& client) {
  const Flush flushed = client.flush();
  if (flushed.failed > 0 || flushed.remaining > 0) throw std::runtime_error("not all events were delivered");
}

/// What a program was called with, and what it found.
class Report {
 public:
  Report(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
      if (std::strcmp(arguments[i], "--json") == 0) {
        json_ = true;
      } else {
        numbers_.push_back(std::stoul(arguments[i]));
      }
    }
  }
  ~Report() {
    if (json_) std::puts(figures_.dump().c_str());
  }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  /// A positional argument.
  std::size_t argument(std::size_t place, std::size_t otherwise) const {
    return place < numbers_.size() ? numbers_[place] : otherwise;
  }
  /// \param name ends with its unit.
  void add(const std::string& name, double value) {
    figures_[name] = value;
    if (json_) return;
    std::printf("%-52s %12.2f\n", name.c_str(), value);
    std::fflush(stdout);
  }

 private:
  bool json_ = false;
  std::vector<std::size_t> numbers_;
  nlohmann::ordered_json figures_ = nlohmann::ordered_json::object();
};

}  // namespace intilery::bench
