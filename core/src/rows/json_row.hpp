/// \file
/// A line of NDJSON, and which of its members say what.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "event/draft.hpp"
#include "event/json_check.hpp"

namespace intilery::rows {

/// The names of members; an empty one: there is none.
struct Columns {
  std::string user_id = {};
  std::string anonymous_id = {};
  std::string event = {};
  std::string timestamp = {};
  std::string message_id = {};
  bool only = false;                               ///< The body has `listed` only; else all but `listed`.
  std::set<std::string, std::less<>> listed = {};  ///< Members of the body, or none of it.
};

/// A row that was read into a draft, which points into it and into the line.
class JsonRow {
 public:
  /// \param draft gets what the line has; a body always.
  /// \throws BadValue, with the member's own name as its path.
  void read(std::string_view line, const Columns& columns, event::Draft& draft);

 private:
  std::vector<event::JsonMember> members_;
  std::vector<std::string> texts_;
  std::string body_;
  std::string_view body_view_;
};

}  // namespace intilery::rows
