/// \file
/// A tracking plan: which events there are, and what each one holds.
#pragma once

#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "plan/document.hpp"
#include "plan/rules.hpp"

namespace intilery::plan {

/// A plan as read: the document, and all that is wrong with it.
struct Draft {
  std::string name;  ///< Of the file, for messages; "plan" of a value.
  Node document;
  std::vector<Problem> problems;
};

/// A compiled plan. Immutable; may be used from many threads at once.
class Plan {
 public:
  /// Compiles what was read. What is wrong is added to the draft's problems; with a fatal one the plan is not for use.
  explicit Plan(Draft& draft);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// An event of that name; its rules are null where any properties will do. Null: it is not in the plan.
  const Property* find(std::string_view event) const { return events_.find(event); }
  const Rules* traits() const { return traits_; }
  /// `; did you mean "Order Completed"?`, or nothing.
  std::string nearest(std::string_view event) const;

 private:
  std::deque<Rules> rules_;
  PropertyTable events_;
  const Rules* traits_ = nullptr;
};

/// Reads a plan: the path of a JSON or YAML file (JSON where the name ends in .json or the text begins with a brace),
/// or the plan itself as an object. A file that cannot be read or parsed is a fatal problem.
Draft read_plan(const nlohmann::json& source);

/// `plan.yaml:12: /events/Order Completed/properties/type "strnig" is no type; …`
std::string line_of(const Draft& draft, const Problem& problem);

}  // namespace intilery::plan
