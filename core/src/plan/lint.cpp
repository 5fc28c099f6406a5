#include "plan/lint.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event/contract.hpp"
#include "plan/checker.hpp"
#include "plan/compiler.hpp"

namespace intilery::plan {

namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Two words or more, none of which begins with a small letter. Other scripts than Latin have no case to look at.
bool is_title_case(std::string_view name) {
  std::size_t words = 0;
  bool begins = true;
  for (const char c : name) {
    if (c == ' ') {
      if (begins) return false;
      begins = true;
      continue;
    }
    if (begins && (is_lower(c) || c == '_' || c == '-')) return false;
    words += begins ? 1 : 0;
    begins = false;
    if (c == '_') return false;
  }
  return !begins && words >= 2;
}

bool is_snake_case(std::string_view name) {
  if (name.empty() || !is_lower(name.front()) || name.back() == '_' || name.find("__") != std::string_view::npos) {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) { return is_lower(c) || is_digit(c) || c == '_'; });
}

/// Traits that the contract itself writes in another way.
bool is_the_platforms(std::string_view property) {
  return property == "marketingPreferences" || property == "journeyIdToTrigger" || property == "stepIdToTrigger";
}

class Linter {
 public:
  explicit Linter(Draft& draft) : draft_(draft), compiler_(draft.document, ignored_) {}

  void run() {
    const Node& root = draft_.document;
    if (const Node* definitions = root.find("$defs")) schemas(*definitions, "/$defs");
    if (const Node* traits = root.find("traits")) schema(*traits, "/traits");
    const Node* events = root.find("events");
    if (events == nullptr) return;
    std::map<std::string, std::string_view> folded;
    for (const auto& [name, event] : events->members) {
      const std::string pointer = step("/events", name);
      const bool custom =
          name != "page" && name != "screen" && event::command_named(name) == event::Draft::Command::none;
      if (custom && !is_title_case(name)) {
        tell(event, "event_name", pointer,
             "should be in Title Case, an object and an action, as in \"Order Completed\"");
      }
      std::string fold;
      for (const char c : name) {
        if (c != ' ' && c != '_' && c != '-') fold += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      }
      if (const auto [other, fresh] = folded.try_emplace(fold, name); !fresh) {
        tell(event, "similar_names", pointer, "is hardly another name than \"" + std::string(other->second) + "\"");
      }
      if (const Node* properties = event.find("properties")) schema(*properties, step(pointer, "properties"));
    }
    // As they stand in the file.
    std::stable_sort(draft_.problems.begin(), draft_.problems.end(),
                     [](const Problem& a, const Problem& b) { return a.line < b.line; });
  }

 private:
  void tell(const Node& at, std::string code, std::string pointer, std::string message) {
    draft_.problems.push_back({false, std::move(code), at.line, std::move(pointer), std::move(message)});
  }

  void schemas(const Node& node, const std::string& pointer) {
    for (const auto& [name, each] : node.members) schema(each, step(pointer, name));
  }

  void schema(const Node& node, const std::string& pointer) {
    const Rules& rules = *compiler_.compile(node, pointer);
    ranges(node, pointer);
    kinds(node, pointer, rules);
    values(node, pointer, rules);
    names(node, pointer);
    if (const Node* properties = node.find("properties")) schemas(*properties, step(pointer, "properties"));
    if (const Node* items = node.find("items")) schema(*items, step(pointer, "items"));
    if (const Node* definitions = node.find("$defs")) schemas(*definitions, step(pointer, "$defs"));
  }

  void ranges(const Node& node, const std::string& pointer) {
    struct Pair {
      std::string_view low, high;
      bool open;  ///< No value lies between equal bounds.
    };
    constexpr std::array<Pair, 6> pairs{{{"minimum", "maximum", false},
                                         {"exclusiveMinimum", "maximum", true},
                                         {"minimum", "exclusiveMaximum", true},
                                         {"exclusiveMinimum", "exclusiveMaximum", true},
                                         {"minLength", "maxLength", false},
                                         {"minItems", "maxItems", false}}};
    for (const auto& [low, high, open] : pairs) {
      const Node* from = node.find(low);
      const Node* to = node.find(high);
      if (from == nullptr || to == nullptr) continue;
      const int compared = Decimal(from->text).compare(Decimal(to->text));
      if (compared > 0 || (open && compared == 0)) {
        tell(*from, "unreachable", step(pointer, low),
             "leaves no value: " + std::string(low) + " " + from->text + ", " + std::string(high) + " " + to->text);
      }
    }
  }

  /// Keywords that look at kinds of values which the type does not let in.
  void kinds(const Node& node, const std::string& pointer, const Rules& rules) {
    constexpr std::array<std::pair<std::string_view, std::uint8_t>, 13> of{{{"minLength", string_type},
                                                                            {"maxLength", string_type},
                                                                            {"pattern", string_type},
                                                                            {"minimum", number_type},
                                                                            {"maximum", number_type},
                                                                            {"exclusiveMinimum", number_type},
                                                                            {"exclusiveMaximum", number_type},
                                                                            {"multipleOf", number_type},
                                                                            {"minItems", array_type},
                                                                            {"maxItems", array_type},
                                                                            {"uniqueItems", array_type},
                                                                            {"items", array_type},
                                                                            {"properties", object_type}}};
    for (const auto& [keyword, kind] : of) {
      const Node* value = node.find(keyword);
      if (value != nullptr && (rules.types & kind) == 0) {
        tell(*value, "never_applies", step(pointer, keyword), "never applies to a value of this type");
      }
    }
  }

  void values(const Node& node, const std::string& pointer, const Rules& rules) {
    const auto reachable = [&](const Node& value) {
      std::string json;
      append_json(value, json);
      return check(json, rules, "value").empty();
    };
    if (const Node* list = node.find("enum")) {
      if (list->items.empty()) tell(*list, "unreachable", step(pointer, "enum"), "allows no value");
      for (std::size_t i = 0; i < list->items.size(); ++i) {
        if (!reachable(list->items[i])) {
          tell(list->items[i], "unreachable", step(step(pointer, "enum"), i), "is a value that the other rules refuse");
        }
      }
    }
    if (const Node* constant = node.find("const"); constant != nullptr && !reachable(*constant)) {
      tell(*constant, "unreachable", step(pointer, "const"), "is a value that the other rules refuse");
    }
  }

  void names(const Node& node, const std::string& pointer) {
    const Node* properties = node.find("properties");
    if (const Node* required = node.find("required")) {
      for (std::size_t i = 0; i < required->items.size(); ++i) {
        const Node& name = required->items[i];
        if (node.find("$ref") == nullptr && (properties == nullptr || properties->find(name.text) == nullptr)) {
          tell(name, "undescribed", step(step(pointer, "required"), i), "requires a property that is not described");
        }
      }
    }
    if (properties == nullptr) return;
    for (const auto& [name, value] : properties->members) {
      if (is_snake_case(name) || is_the_platforms(name)) continue;
      tell(value, "property_name", step(step(pointer, "properties"), name),
           "should be in snake_case, as in \"order_id\"");
    }
  }

  Draft& draft_;
  std::vector<Problem> ignored_;
  Compiler compiler_;
};

}  // namespace

void lint(Draft& draft) {
  if (draft.problems.empty()) Linter(draft).run();
}

}  // namespace intilery::plan
