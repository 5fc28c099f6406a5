/// \file
/// Schemas become rules.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plan/document.hpp"
#include "plan/rules.hpp"

namespace intilery::plan {

/// Compiles the schemas of one document, each once however often it is referred to.
class Compiler {
 public:
  /// \param root the whole document, which `$ref` looks into. It and `problems` must outlive the compiler.
  Compiler(const Node& root, std::vector<Problem>& problems) : root_(root), problems_(problems) {}

  /// Compiles one schema and what it holds; what is wrong is added to the problems.
  const Rules* compile(const Node& schema, const std::string& pointer);

  /// The rules, which outlive the compiler and keep their place.
  std::deque<Rules> take() { return std::move(rules_); }

  void problem(const Node& at, std::string code, std::string pointer, std::string message, bool fatal = true);

  /// Tells of a member that stands twice. \returns whether the node is an object at all, and tells if not.
  bool check_object(const Node& node, const std::string& pointer);

 private:
  struct Compiled {
    const Rules* rules = nullptr;  ///< Null while it is being compiled.
    std::uint64_t expanded = 1;    ///< How many schemas it is with each reference written out.
  };
  using Keyword = void (Compiler::*)(const Node&, const std::string&, Rules&);
  static const std::map<std::string_view, Keyword>& keywords();

  void type(const Node&, const std::string&, Rules&);
  void enumeration(const Node&, const std::string&, Rules&);
  void constant(const Node&, const std::string&, Rules&);
  void pattern(const Node&, const std::string&, Rules&);
  void multiple_of(const Node&, const std::string&, Rules&);
  void unique_items(const Node&, const std::string&, Rules&);
  void items(const Node&, const std::string&, Rules&);
  void properties(const Node&, const std::string&, Rules&);
  void required(const Node&, const std::string&, Rules&);
  void reference(const Node&, const std::string&, Rules&);
  void definitions(const Node&, const std::string&, Rules&);
  void annotation(const Node&, const std::string&, Rules&) {}
  template <std::optional<std::size_t> Rules::* member>
  void count(const Node&, const std::string&, Rules&);
  template <std::unique_ptr<const Bound> Rules::* member>
  void bound(const Node&, const std::string&, Rules&);

  /// Follows a JSON pointer, given as a URI fragment. Null where it leads nowhere.
  const Node* follow(std::string_view fragment);
  const Node* member(const Node& object, std::string_view key);
  const Rules* sub_schema(const Node& schema, const std::string& pointer);
  void finish(const Node& schema, Rules& rules);

  const Node& root_;
  std::vector<Problem>& problems_;
  std::deque<Rules> rules_;
  std::map<const Node*, Compiled> compiled_;
  std::map<const Node*, std::unordered_map<std::string_view, const Node*>> indexes_;  ///< Of large objects.
  std::uint64_t expanded_ = 0;                                                        ///< Of the schema being compiled.
  int depth_ = 0;
};

/// The canonical form of a value in a plan, to compare with `append_canonical`.
std::string canonical(const Node& node);

}  // namespace intilery::plan
