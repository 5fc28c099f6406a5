#include "plan/plan.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <utility>

#include "nearest.hpp"
#include "plan/compiler.hpp"
#include "printable.hpp"

namespace intilery::plan {

namespace {

/// Tells of members that are not among the known ones.
void check_members(Compiler& compiler, const Node& node, const std::string& pointer,
                   std::span<const std::string_view> known) {
  for (const auto& [key, value] : node.members) {
    if (key.starts_with("x-") || std::find(known.begin(), known.end(), key) != known.end()) continue;
    compiler.problem(value, "unknown_keyword", step(pointer, key),
                     "is nothing that plans have" + did_you_mean(key, known));
  }
}

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char block[65536];
  while (file && text.size() <= max_document_bytes) {
    file.read(block, sizeof block);
    text.append(block, static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof() && text.size() <= max_document_bytes) {
    throw Problem{true, "unreadable", 0, "", std::string("cannot be read: ") + std::strerror(errno == 0 ? EIO : errno)};
  }
  return text;
}

}  // namespace

Draft read_plan(const nlohmann::json& source) {
  Draft draft{"plan", {}, {}};
  try {
    if (source.is_string()) {
      draft.name = source.get<std::string>();
      const std::string text = read_file(draft.name);
      const std::size_t first = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
      const bool brace = first != std::string::npos && text[first] == '{';
      const bool yaml = draft.name.ends_with(".yaml") || draft.name.ends_with(".yml");
      draft.document = read_document(text, draft.name.ends_with(".json") || (brace && !yaml));
    } else {
      draft.document = read_document(source.dump(), true);
    }
  } catch (const Problem& problem) {
    draft.problems.push_back(problem);
  }
  return draft;
}

Plan::Plan(Draft& draft) {
  if (!draft.problems.empty()) return;  // there is no document
  const Node& root = draft.document;
  Compiler compiler(root, draft.problems);
  if (!compiler.check_object(root, "")) return;
  constexpr std::string_view root_keys[] = {"version", "events", "traits", "$defs", "$schema", "title", "description"};
  check_members(compiler, root, "", root_keys);
  const Node* version = root.find("version");
  if (version == nullptr) {
    compiler.problem(root, "required", "/version", "is required; this is version 1");
  } else if (!version->is(Node::Kind::number) || Decimal(version->text).compare(Decimal("1")) != 0) {
    compiler.problem(*version, "unknown_version", "/version", "must be 1; another is not known here");
  }
  if (const Node* traits = root.find("traits")) traits_ = compiler.compile(*traits, "/traits");
  if (const Node* definitions = root.find("$defs"); definitions && compiler.check_object(*definitions, "/$defs")) {
    for (const auto& [name, schema] : definitions->members) compiler.compile(schema, step("/$defs", name));
  }
  const Node* events = root.find("events");
  if (events != nullptr && compiler.check_object(*events, "/events")) {
    std::vector<Property> list;
    for (const auto& [name, event] : events->members) {
      const std::string pointer = step("/events", name);
      const Rules* rules = nullptr;
      constexpr std::string_view keys[] = {"description", "properties", "title", "deprecated", "$comment", "examples"};
      if (compiler.check_object(event, pointer)) {
        check_members(compiler, event, pointer, keys);
        if (const Node* properties = event.find("properties")) {
          rules = compiler.compile(*properties, step(pointer, "properties"));
        }
      }
      if (name.empty()) compiler.problem(event, "empty", pointer, "must have a name");
      list.push_back({name, rules, {}});
    }
    if (list.size() > PropertyTable::max_size) {
      compiler.problem(*events, "too_large", "/events",
                       "names more than " + std::to_string(PropertyTable::max_size) + " events");
      list.clear();
    }
    events_.build(std::move(list));
  }
  rules_ = compiler.take();
}

std::string Plan::nearest(std::string_view event) const {
  std::vector<std::string_view> names;
  for (const Property& planned : events_.all()) names.push_back(planned.name);
  std::sort(names.begin(), names.end());
  return did_you_mean(event, names);
}

std::string line_of(const Draft& draft, const Problem& problem) {
  std::string line = draft.name + ":";
  if (problem.line > 0) line += std::to_string(problem.line) + ":";
  if (!problem.pointer.empty()) line += " " + problem.pointer;
  return printable(line + " " + problem.message);
}

}  // namespace intilery::plan
