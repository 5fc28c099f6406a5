#include "plan/compiler.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <stdexcept>
#include <utility>

#include "nearest.hpp"
#include "percent.hpp"
#include "plan/json_text.hpp"

namespace intilery::plan {

namespace {

constexpr int max_depth = 100;
/// A value is checked at most so often, whatever refers to what.
constexpr std::uint64_t max_expanded = 100'000;

struct NamedType {
  std::string_view name;
  std::uint8_t bits;
  std::string_view text;
};
constexpr std::array<NamedType, 8> types{{{"any", any_type, "anything"},
                                          {"array", array_type, "an array"},
                                          {"boolean", boolean_type, "a boolean"},
                                          {"integer", integer_type, "a whole number"},
                                          {"null", null_type, "null"},
                                          {"number", number_type, "a number"},
                                          {"object", object_type, "an object"},
                                          {"string", string_type, "text"}}};

std::vector<std::string_view> type_names() {
  std::vector<std::string_view> names;
  for (const NamedType& type : types) names.push_back(type.name);
  return names;
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace

std::string canonical(const Node& node) {
  std::string json;
  append_json(node, json);
  std::string out;
  append_canonical(json.data(), json.data() + json.size(), out);
  return out;
}

void Compiler::problem(const Node& at, std::string code, std::string pointer, std::string message, bool fatal) {
  problems_.push_back({fatal, std::move(code), at.line, std::move(pointer), std::move(message)});
}

bool Compiler::check_object(const Node& node, const std::string& pointer) {
  if (!node.is(Node::Kind::object)) {
    problem(node, "wrong_type", pointer, "must be an object, not " + std::string(kind_of(node)));
    return false;
  }
  std::set<std::string_view> keys;
  for (const auto& [key, value] : node.members) {
    if (!keys.insert(key).second) problem(value, "duplicate_key", step(pointer, key), "stands twice");
  }
  return true;
}

const std::map<std::string_view, Compiler::Keyword>& Compiler::keywords() {
  static const std::map<std::string_view, Keyword> table{
      {"$comment", &Compiler::annotation},
      {"$defs", &Compiler::definitions},
      {"$ref", &Compiler::reference},
      {"$schema", &Compiler::annotation},
      {"const", &Compiler::constant},
      {"default", &Compiler::annotation},
      {"deprecated", &Compiler::annotation},
      {"description", &Compiler::annotation},
      {"enum", &Compiler::enumeration},
      {"examples", &Compiler::annotation},
      {"exclusiveMaximum", &Compiler::bound<&Rules::exclusive_maximum>},
      {"exclusiveMinimum", &Compiler::bound<&Rules::exclusive_minimum>},
      {"items", &Compiler::items},
      {"maxItems", &Compiler::count<&Rules::max_items>},
      {"maxLength", &Compiler::count<&Rules::max_length>},
      {"maximum", &Compiler::bound<&Rules::maximum>},
      {"minItems", &Compiler::count<&Rules::min_items>},
      {"minLength", &Compiler::count<&Rules::min_length>},
      {"minimum", &Compiler::bound<&Rules::minimum>},
      {"multipleOf", &Compiler::multiple_of},
      {"pattern", &Compiler::pattern},
      {"properties", &Compiler::properties},
      {"required", &Compiler::required},
      {"title", &Compiler::annotation},
      {"type", &Compiler::type},
      {"uniqueItems", &Compiler::unique_items},
  };
  return table;
}

const Rules* Compiler::sub_schema(const Node& schema, const std::string& pointer) {
  const std::uint64_t before = std::exchange(expanded_, 1);
  const Rules* rules = compile(schema, pointer);
  expanded_ += before;
  return rules;
}

const Rules* Compiler::compile(const Node& schema, const std::string& pointer) {
  const auto [place, fresh] = compiled_.try_emplace(&schema);
  Compiled& compiled = place->second;
  if (!fresh) {
    expanded_ = compiled.expanded;
    return compiled.rules;
  }
  Rules& rules = rules_.emplace_back();
  rules.pointer = pointer;
  expanded_ = 1;
  if (++depth_ > max_depth) {
    problem(schema, "too_deep", pointer, "is nested too deeply");
  } else if (schema.is(Node::Kind::boolean)) {
    rules.never = schema.text == "false";
  } else if (!schema.is(Node::Kind::object)) {
    problem(schema, "wrong_type", pointer,
            "must be a schema: an object, true or false, not " + std::string(kind_of(schema)));
  } else {
    check_object(schema, pointer);
    for (const auto& [name, value] : schema.members) {
      if (name.starts_with("x-")) continue;
      const auto keyword = keywords().find(name);
      if (keyword != keywords().end()) {
        (this->*keyword->second)(value, step(pointer, name), rules);
        continue;
      }
      std::vector<std::string_view> known;
      for (const auto& [word, ignored] : keywords()) known.push_back(word);
      problem(value, "unknown_keyword", step(pointer, name),
              "is no keyword that plans have" + did_you_mean(name, known));
    }
    finish(schema, rules);
  }
  --depth_;
  if (expanded_ > max_expanded) {
    if (expanded_ <= 2 * max_expanded) {
      problem(schema, "too_large", pointer, "is too large with its references written out");
    }
    expanded_ = 2 * max_expanded + 1;  // told once
  }
  compiled = {&rules, expanded_};
  return &rules;
}

void Compiler::finish(const Node& schema, Rules& rules) {
  // `required` may come before `properties`, and name what that does not.
  std::vector<Property> properties = rules.properties.all();
  if (const Node* required = schema.find("required"); required != nullptr && required->is(Node::Kind::array)) {
    for (std::size_t i = 0; i < required->items.size(); ++i) {
      const std::string& name = required->items[i].text;
      auto property =
          std::find_if(properties.begin(), properties.end(), [&](const Property& p) { return p.name == name; });
      if (property == properties.end()) property = properties.insert(properties.end(), {name, nullptr, {}});
      if (property->required) continue;
      property->required = i;
      ++rules.required_count;
    }
  }
  rules.properties.build(std::move(properties));
  rules.checks_values = rules.has_enum || rules.constant;
  rules.checks_strings = rules.min_length || rules.max_length || rules.pattern;
  rules.checks_numbers = rules.minimum || rules.maximum || rules.exclusive_minimum || rules.exclusive_maximum ||
                         rules.multiple_of.has_value();
  rules.checks_items = rules.min_items || rules.max_items || rules.unique_items || rules.items != nullptr;
}

void Compiler::type(const Node& node, const std::string& pointer, Rules& rules) {
  std::vector<const Node*> names;
  if (node.is(Node::Kind::string)) names.push_back(&node);
  for (const Node& item : node.items) names.push_back(&item);
  if (names.empty()) {
    return problem(node, "wrong_type", pointer, "must be the name of a type, or an array of them");
  }
  rules.types = 0;
  for (const Node* name : names) {
    const auto found =
        std::find_if(types.begin(), types.end(), [&](const NamedType& t) { return t.name == name->text; });
    if (!name->is(Node::Kind::string) || found == types.end()) {
      const std::vector<std::string_view> known = type_names();
      const std::string given = name->is(Node::Kind::string) ? quoted(name->text) : std::string(kind_of(*name));
      std::string list;
      for (const std::string_view type : known) list += (list.empty() ? "" : ", ") + std::string(type);
      problem(*name, "unknown_type", pointer,
              given + " is no type; types are " + list + did_you_mean(name->text, known));
      continue;
    }
    rules.types |= found->bits;
    rules.type_text += (rules.type_text.empty() ? "" : " or ") + std::string(found->text);
  }
}

void Compiler::enumeration(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::array)) {
    return problem(node, "wrong_type", pointer, "must be an array, not " + std::string(kind_of(node)));
  }
  rules.has_enum = true;
  for (const Node& item : node.items) {
    if (item.is(Node::Kind::string)) {
      rules.texts.push_back(item.text);
    } else {
      rules.enumeration.push_back(canonical(item));
    }
  }
  std::sort(rules.texts.begin(), rules.texts.end());
  std::sort(rules.enumeration.begin(), rules.enumeration.end());
}

void Compiler::constant(const Node& node, const std::string&, Rules& rules) { rules.constant = canonical(node); }

void Compiler::pattern(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::string)) {
    return problem(node, "wrong_type", pointer, "must be text, not " + std::string(kind_of(node)));
  }
  try {
    rules.pattern.emplace(node.text);
  } catch (const std::invalid_argument& error) {
    problem(node, "invalid_pattern", pointer, std::string("is a bad pattern: ") + error.what());
  }
}

void Compiler::multiple_of(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::number)) {
    return problem(node, "wrong_type", pointer, "must be a number, not " + std::string(kind_of(node)));
  }
  if (!Divisor::accepts(node.text)) {
    return problem(node, "invalid_value", pointer,
                   "must be above 0, with at most " + std::to_string(Divisor::max_digits) + " significant digits");
  }
  rules.multiple_of.emplace(node.text);
  rules.multiple_of_text = node.text;
}

void Compiler::unique_items(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::boolean)) {
    return problem(node, "wrong_type", pointer, "must be true or false, not " + std::string(kind_of(node)));
  }
  rules.unique_items = node.text == "true";
}

void Compiler::items(const Node& node, const std::string& pointer, Rules& rules) {
  rules.items = sub_schema(node, pointer);
}

void Compiler::properties(const Node& node, const std::string& pointer, Rules& rules) {
  if (!check_object(node, pointer)) return;
  if (node.members.size() > PropertyTable::max_size) {
    return problem(node, "too_large", pointer,
                   "names more than " + std::to_string(PropertyTable::max_size) + " properties");
  }
  std::vector<Property> list;
  for (const auto& [name, schema] : node.members) list.push_back({name, sub_schema(schema, step(pointer, name)), {}});
  rules.properties.build(std::move(list));
}

void Compiler::required(const Node& node, const std::string& pointer, Rules&) {
  const bool names = node.is(Node::Kind::array) && std::all_of(node.items.begin(), node.items.end(),
                                                               [](const Node& n) { return n.is(Node::Kind::string); });
  if (!names) return problem(node, "wrong_type", pointer, "must be an array of names");
  if (node.items.size() > Rules::max_required) {
    problem(node, "too_large", pointer, "names more than " + std::to_string(Rules::max_required) + " properties");
  }
}

const Node* Compiler::member(const Node& object, std::string_view key) {
  if (object.members.size() < 16) return object.find(key);
  auto& index = indexes_[&object];
  if (index.empty()) {
    for (const auto& [name, value] : object.members) index.try_emplace(name, &value);
  }
  const auto found = index.find(key);
  return found == index.end() ? nullptr : found->second;
}

const Node* Compiler::follow(std::string_view fragment) {
  const std::string pointer = percent_decoded(fragment);
  const Node* node = &root_;
  std::string_view rest = pointer;
  while (!rest.empty()) {
    if (rest.front() != '/') return nullptr;
    rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find('/'), rest.size());
    std::string key;
    for (std::size_t i = 0; i < end; ++i) {
      if (rest[i] == '~' && i + 1 < end && (rest[i + 1] == '0' || rest[i + 1] == '1')) {
        key += rest[++i] == '0' ? '~' : '/';
      } else {
        key += rest[i];
      }
    }
    rest.remove_prefix(end);
    if (node->is(Node::Kind::array)) {
      std::size_t index = 0;
      const auto [last, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc() || last != key.data() + key.size() || index >= node->items.size()) return nullptr;
      node = &node->items[index];
    } else {
      node = member(*node, key);
      if (node == nullptr) return nullptr;
    }
  }
  return node;
}

void Compiler::reference(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::string)) {
    return problem(node, "wrong_type", pointer, "must be text, not " + std::string(kind_of(node)));
  }
  const std::string& target = node.text;
  const Node* found = target.starts_with('#') ? follow(std::string_view(target).substr(1)) : nullptr;
  if (found == nullptr) {
    return problem(
        node, "unresolved_reference", pointer,
        quoted(target) + (target.starts_with('#') ? " leads nowhere in this file"
                                                  : " is not in this file; a reference is such as \"#/$defs/Money\""));
  }
  if (const auto known = compiled_.find(found); known != compiled_.end() && known->second.rules == nullptr) {
    return problem(node, "reference_loop", pointer, quoted(target) + " loops: it leads back to a schema that holds it");
  }
  rules.references.push_back(sub_schema(*found, target.substr(1)));
}

void Compiler::definitions(const Node& node, const std::string& pointer, Rules&) {
  if (!check_object(node, pointer)) return;
  // Compiled for what is wrong with them; only what refers to one is larger for it.
  const std::uint64_t before = expanded_;
  for (const auto& [name, schema] : node.members) sub_schema(schema, step(pointer, name));
  expanded_ = before;
}

template <std::optional<std::size_t> Rules::* member>
void Compiler::count(const Node& node, const std::string& pointer, Rules& rules) {
  const bool whole =
      node.is(Node::Kind::number) && Decimal(node.text).is_integer() && Decimal(node.text).compare(Decimal("0")) >= 0;
  if (!whole) return problem(node, "wrong_type", pointer, "must be a whole number from 0");
  // More than any event holds is all the same.
  constexpr std::string_view most = "4000000000";
  rules.*member = Decimal(node.text).compare(Decimal(most)) >= 0 ? std::size_t{4'000'000'000}
                                                                 : static_cast<std::size_t>(std::stod(node.text));
}

template <std::unique_ptr<const Bound> Rules::* member>
void Compiler::bound(const Node& node, const std::string& pointer, Rules& rules) {
  if (!node.is(Node::Kind::number)) {
    return problem(node, "wrong_type", pointer, "must be a number, not " + std::string(kind_of(node)));
  }
  rules.*member = std::make_unique<const Bound>(node.text);
}

}  // namespace intilery::plan
