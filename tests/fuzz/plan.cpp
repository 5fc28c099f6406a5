// Tracking plans from files, and events against them.
#include <nlohmann/json.hpp>

#include "event/json_check.hpp"
#include "plan/checker.hpp"
#include "plan/lint.hpp"
#include "plan/plan.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;

namespace {

/// The value again with white space and escapes wherever they may stand; the plan must see no difference.
void respace(const json& value, std::string& out) {
  if (value.is_object()) {
    out += "{ ";
    bool first = true;
    for (const auto& [key, member] : value.items()) {
      if (!std::exchange(first, false)) out += "\n,\t";
      out += json(key).dump(-1, ' ', /*ensure_ascii=*/true) + " : ";
      respace(member, out);
    }
    out += "\r\n}";
  } else if (value.is_array()) {
    out += "[ ";
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += " , ";
      respace(value[i], out);
    }
    out += " ]";
  } else {
    out += value.dump(-1, ' ', /*ensure_ascii=*/true);
  }
}

std::vector<std::string> said(const std::vector<Violation>& violations) {
  std::vector<std::string> lines;
  for (const Violation& v : violations) lines.push_back(v.code + ' ' + v.path + ' ' + v.rule + ' ' + v.message);
  return lines;
}

void check_event(std::string_view text, const plan::Rules& rules) {
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    event::check_json(text);
  } catch (const event::BadValue&) {
    return;
  }
  const std::string own(event::trim(text));
  const std::vector<Violation> met = plan::check(own, rules, "properties");
  must(met.size() <= plan::max_violations, "violations are bounded");
  for (const Violation& violation : met) {
    must(!violation.code.empty() && !violation.message.empty(), "each says what is wrong");
    must(violation.path.starts_with("properties"), "and where");
  }
  must(said(plan::check(own, rules, "properties")) == said(met), "the second time is as the first");
  if (value.is_discarded()) return;
  const std::string dense = value.dump();
  std::string spaced;
  respace(value, spaced);
  must(said(plan::check(dense, rules, "properties")) == said(plan::check(spaced, rules, "properties")),
       "white space and escapes make no difference");
}

}  // namespace

// `j` or `y`, the plan, a line `%%`, then lines of an event's name, a tab and its properties.
FUZZ_TARGET(plan) {
  Input in(bytes);
  const bool as_json = in.letter() != 'y';
  const std::string_view text = in.until("\n%%\n");
  plan::Draft draft{"plan", {}, {}};
  try {
    draft.document = plan::read_document(text, as_json);
    if (as_json) {
      std::string again;
      plan::append_json(draft.document, again);
      const json theirs = json::parse(text, nullptr, false);
      const json ours = json::parse(again, nullptr, false);
      must(theirs.is_discarded() == ours.is_discarded() && (theirs.is_discarded() || theirs == ours),
           "a JSON document is read as nlohmann reads it");
    }
  } catch (const plan::Problem& problem) {
    must(problem.fatal && !problem.code.empty() && !problem.message.empty(), "a problem is told");
    const bool has_nul = text.find('\0') != std::string_view::npos;  // where nlohmann thinks that the text ends
    if (as_json && problem.code == "invalid_json") must(has_nul || !json::accept(text), "what is JSON can be read");
    draft.problems.push_back(problem);
  }
  const plan::Plan plan(draft);
  bool usable = true;
  for (const plan::Problem& problem : draft.problems) {
    must(!plan::line_of(draft, problem).empty(), "a problem has a line");
    if (problem.fatal) usable = false;
  }
  if (!usable) return;
  if (draft.problems.empty()) plan::lint(draft);
  while (!in.empty()) {
    Input line(in.line());
    const std::string_view name = line.until("\t");
    const std::string_view event = line.rest();
    if (const plan::Property* planned = plan.find(name); planned != nullptr) {
      must(planned->name == name, "an event is found by its name");
      if (planned->rules != nullptr) check_event(event, *planned->rules);
    } else {
      plan.nearest(name);
    }
    if (plan.traits() != nullptr) check_event(event, *plan.traits());
  }
}

}  // namespace intilery::fuzz
