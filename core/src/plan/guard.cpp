#include "plan/guard.hpp"

#include <utility>
#include <vector>

#include "event/contract.hpp"
#include "intilery/errors.hpp"
#include "plan/checker.hpp"
#include "printable.hpp"

namespace intilery::plan {

namespace {

/// Event names come from the program's data at times: so many are told apart, and the others counted together.
constexpr std::size_t max_causes = 1000;

ValidationError rejection(std::vector<Violation> violations) {
  ErrorInfo info{.kind = ErrorKind::validation,
                 .code = violations.front().code,
                 .message = violations.front().message,
                 .path = violations.front().path};
  if (violations.size() > 1) info.message += " (and " + std::to_string(violations.size() - 1) + " more: see errors)";
  info.violations = std::move(violations);
  return ValidationError(std::move(info));
}

}  // namespace

Guard::Guard(const nlohmann::json& plan, PlanMode mode, Log log)
    : draft_(read_plan(plan)), plan_(draft_), mode_(mode), log_(std::move(log)) {
  std::vector<const Problem*> fatal;
  for (const Problem& problem : draft_.problems) {
    if (problem.fatal) fatal.push_back(&problem);
  }
  if (!fatal.empty()) {
    std::string message = "plan: " + line_of(draft_, *fatal.front());
    if (fatal.size() > 1) message += " (and " + std::to_string(fatal.size() - 1) + " more: see intilery plan lint)";
    throw ConfigurationError("plan", fatal.front()->code, message);
  }
  draft_ = {};  // the rules stand by themselves
}

void Guard::check(event::Action action, bool command, std::string_view event, std::string_view body) const {
  if (body.empty()) body = "{}";
  if (action == event::Action::identify) {
    if (plan_.traits() == nullptr) return;
    std::vector<Violation> violations = plan::check(body, *plan_.traits(), "traits");
    if (!violations.empty()) report("identify", std::move(violations));
    return;
  }
  const std::string_view name = action == event::Action::track ? event : event::name_of(action);
  const Property* const planned = plan_.find(name);
  if (planned == nullptr) {
    if (action != event::Action::track || command) return;  // these are the platform's own
    report(name,
           {{.code = "unplanned_event",
             .path = "event",
             .rule = "/events",
             .message = "event \"" + printable(name, 100) + "\" is not in the plan" + printable(plan_.nearest(name))}});
    return;
  }
  if (planned->rules == nullptr) return;
  std::vector<Violation> violations = plan::check(body, *planned->rules, command ? "data" : "properties");
  if (!violations.empty()) report(name, std::move(violations));
}

void Guard::report(std::string_view event, std::vector<Violation> violations) const {
  if (mode_ == PlanMode::reject) throw rejection(std::move(violations));
  for (const Violation& violation : violations) {
    const std::string name = printable(event, 100);
    std::string cause = name + ": " + (violation.rule == "/events" ? violation.code : violation.rule);
    bool fresh = false;
    {
      const std::lock_guard lock(mutex_);
      if (counts_.size() >= max_causes && !counts_.contains(cause)) cause = "other";
      fresh = ++counts_[cause] == 1;
    }
    if (!fresh || !log_) continue;
    log_(LogLevel::warning,
         cause == "other"
             ? "more kinds of events break the plan than are told apart here"
             : "the event \"" + name + "\" breaks the plan (it is sent; this is told once): " + violation.message);
  }
}

void Guard::fill(Stats& stats) const {
  const std::lock_guard lock(mutex_);
  stats.plan_violations = counts_;
}

}  // namespace intilery::plan
