/// \file
/// A client's tracking plan at work.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "event/draft.hpp"
#include "intilery/client.hpp"
#include "intilery/delivery.hpp"
#include "intilery/options.hpp"
#include "plan/plan.hpp"

namespace intilery::plan {

/// Checks events against a plan, and does what `plan_mode` says of those that break it. Every member may be called from
/// any thread.
class Guard {
 public:
  using Log = std::function<void(LogLevel, const std::string& line)>;

  /// \param log gets one line for each event name and broken rule, with PlanMode::warn. May be empty.
  /// \throws ConfigurationError naming `plan` for one that cannot be loaded, or is wrong.
  Guard(const nlohmann::json& plan, PlanMode mode, Log log);

  /// Checks an event. `event` is its name; of an identify call it is not looked at.
  /// \param body its traits or properties, or a command's data, as JSON; empty: it has none.
  /// \throws ValidationError with PlanMode::reject.
  void check(event::Action action, bool command, std::string_view event, std::string_view body) const;

  void fill(Stats& stats) const;

 private:
  void report(std::string_view event, std::vector<Violation> violations) const;

  Draft draft_;
  const Plan plan_;
  const PlanMode mode_;
  const Log log_;
  mutable std::mutex mutex_;  ///< Guards `counts_`.
  mutable std::map<std::string, std::uint64_t> counts_;
};

}  // namespace intilery::plan
