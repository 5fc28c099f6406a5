/// \file
/// A plan as it stands in its file: a tree, with the line of everything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace intilery::plan {

struct Member;

/// A value of a JSON or YAML file.
struct Node {
  enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  int line = 0;      ///< From 1; 0: the document is no text.
  std::string text;  ///< A string's characters, a number as JSON has it, `true` or `false`.
  std::vector<Node> items;
  std::vector<Member> members;  ///< As they stand, also those with the same key.

  bool is(Kind other) const { return kind == other; }
  /// The member of that name; null without one.
  const Node* find(std::string_view key) const;
};

/// What a `std::pair` may not be here: a pair of an incomplete type.
struct Member {
  std::string first;
  Node second;
};

/// `an object`, `text` …, for messages.
std::string_view kind_of(const Node& node);

/// Appends a node as JSON.
void append_json(const Node& node, std::string& out);

/// What is wrong with a file, and where.
struct Problem {
  bool fatal = true;  ///< A plan with it is not loaded.
  std::string code;
  int line = 0;
  std::string pointer;  ///< A JSON pointer into the plan (RFC 6901).
  std::string message;
};

/// What a document may be at most. A hostile one ends there.
constexpr std::size_t max_document_bytes = 10'000'000;
constexpr std::size_t max_document_nodes = 500'000;
constexpr int max_document_depth = 100;

/// Reads JSON, or else YAML 1.2 (its JSON schema: `yes` is text). Aliases count as what they stand for.
/// Throws Problem.
Node read_document(std::string_view text, bool json);

/// `pointer` with one step more.
std::string step(const std::string& pointer, std::string_view key);
std::string step(const std::string& pointer, std::size_t index);

}  // namespace intilery::plan
