#include "readback/page.hpp"

#include "event/timestamp.hpp"
#include "json_depth.hpp"
#include "percent.hpp"

namespace intilery::readback {

namespace {

std::string percent_encoded_list(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) {
    if (!list.empty()) list += ',';
    list += percent_encoded(name);
  }
  return list;
}

std::string wire_time(PageQuery::Moment moment) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(moment.time_since_epoch()).count();
  const event::TimestampText text = event::format_timestamp(ms);
  return percent_encoded({text.data(), text.size()});
}

}  // namespace

std::string path_of(const PageQuery& query) {
  std::string path;
  if (!query.id_type.empty()) path = "profiles/" + query.id_type + ":" + percent_encoded(query.id) + "/";
  path += "events?size=" + std::to_string(query.size) + "&from=" + std::to_string(query.from);
  if (query.start) path += "&start=" + wire_time(*query.start);
  if (query.end) path += "&end=" + wire_time(*query.end);
  if (query.ascending) path += "&sort=asc";
  if (!query.include.empty()) path += "&include=" + percent_encoded_list(query.include);
  if (!query.exclude.empty()) path += "&exclude=" + percent_encoded_list(query.exclude);
  return path;
}

nlohmann::json events_of(delivery::ReadResult result) {
  if (result.error) throw_error(std::move(*result.error));
  if (result.status == 404) return nlohmann::json::array();
  nlohmann::json page = parse_foreign(result.body);
  if (page.is_array()) return page;
  if (page.is_object()) {
    // The contract names no wrapper, so the first array is taken: `{"events": […]}`, `{"data": […]}` ….
    for (auto& member : page) {
      if (member.is_array()) return std::move(member);
    }
  }
  throw_error({.kind = ErrorKind::delivery,
               .code = "invalid_answer",
               .message = "reading back: the server's answer holds no list of events",
               .status = result.status});
}

const std::string* message_id_of(const nlohmann::json& event) {
  if (!event.is_object()) return nullptr;
  const auto data = event.find("rawData");
  if (data == event.end() || !data->is_object()) return nullptr;
  const auto id = data->find("messageId");
  return id != data->end() && id->is_string() ? &id->get_ref<const std::string&>() : nullptr;
}

std::string event_id_of(const nlohmann::json& event) {
  const auto id = event.find("eventId");
  return id != event.end() && id->is_string() ? id->get<std::string>() : std::string();
}

}  // namespace intilery::readback
