#include "rows/json_row.hpp"

#include <nlohmann/json.hpp>

#include "event/json_writer.hpp"

namespace intilery::rows {

using event::JsonMember;

void JsonRow::read(std::string_view line, const Columns& columns, event::Draft& draft) {
  const std::string_view text = event::trim(line);
  members_.clear();
  event::check_json(text, &members_, event::JsonWriter::max_depth + 1);
  if (text.front() != '{') event::refuse_type("an object", event::kind_of(text));

  texts_.clear();
  texts_.reserve(members_.size());
  const auto take = [&](const std::string& name, const JsonMember& member, std::string_view& to, bool number_too) {
    if (name.empty() || member.key != name) return false;
    if (member.value == "null") return true;
    const char first = member.value.front();
    if (first == '"') {
      to = texts_.emplace_back(event::unescape(member.value));
    } else if (number_too && (first == '-' || (first >= '0' && first <= '9'))) {
      to = member.value;
    } else {
      event::under(name, [&] { event::refuse_type("text", event::kind_of(member.value)); });
    }
    return true;
  };
  body_ = "{";
  for (const JsonMember& member : members_) {
    if (take(columns.user_id, member, draft.user_id, true) ||
        take(columns.anonymous_id, member, draft.anonymous_id, true) ||
        take(columns.message_id, member, draft.message_id, true) || take(columns.event, member, draft.event, false) ||
        take(columns.timestamp, member, draft.timestamp, false) ||
        columns.listed.contains(member.key) != columns.only) {
      continue;
    }
    if (body_.size() > 1) body_ += ',';
    body_ += nlohmann::json(member.key).dump();
    body_ += ':';
    body_ += member.value;
  }
  body_ += '}';
  if (!columns.timestamp.empty() && draft.timestamp.data() == nullptr) {
    throw event::BadValue{"required", "is required", "timestamp"};
  }
  body_view_ = body_;
  draft.body = event::json_source(body_view_);
}

}  // namespace intilery::rows
