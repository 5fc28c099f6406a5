#include "readback/reader.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <utility>

#include "event/encoder.hpp"
#include "event/timestamp.hpp"
#include "json_depth.hpp"
#include "nearest.hpp"
#include "percent.hpp"

namespace intilery::readback {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Moment = PageQuery::Moment;
using WireMoment = std::chrono::sys_time<milliseconds>;

/// The nearest moment that a query can hold, whose nanoseconds end in the years 1677 and 2262.
Moment moment_at(std::int64_t ms) {
  constexpr std::int64_t furthest = std::chrono::floor<std::chrono::days>(Moment::duration::max()) / milliseconds(1);
  return Moment(milliseconds(std::clamp(ms, -furthest, furthest)));
}

[[noreturn]] void fail(std::string code, std::string message) {
  throw_error({.kind = ErrorKind::delivery, .code = std::move(code), .message = "reading back: " + message});
}

// What the service answers.

json parsed(const delivery::ReadResult& result) {
  if (result.error) throw_error(*result.error);
  json answer = parse_foreign(result.body);
  if (!answer.is_structured()) fail("invalid_answer", "the server's answer is neither an object nor a list");
  return answer;
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<WireMoment> moment_of(const json& object, const char* key) {
  try {
    return WireMoment(milliseconds(event::parse_timestamp(text_of(object, key))));
  } catch (const event::BadValue&) {
    return std::nullopt;
  }
}

Event event_of(json& given) {
  if (!given.is_object()) fail("invalid_answer", "the server's list of events holds something else");
  Event event{.event_id = text_of(given, "eventId"),
              .event_time = moment_of(given, "eventTime"),
              .received_time = moment_of(given, "receivedTime"),
              .action = text_of(given, "eventAction"),
              .name = {},
              .client_id = text_of(given, "clientId"),
              .account_id = text_of(given, "accountId"),
              .brand_id = text_of(given, "brandId"),
              .user_id = text_of(given, "userId"),
              .raw_data = json::object()};
  if (const auto raw = given.find("rawData"); raw != given.end() && raw->is_object()) event.raw_data = std::move(*raw);
  event.name = text_of(event.raw_data, "event");
  if (event.name.empty()) event.name = event.action;
  return event;
}

std::optional<std::int64_t> ms_of(const std::optional<WireMoment>& moment) {
  if (!moment) return std::nullopt;
  return moment->time_since_epoch().count();
}

std::string profile_path(const std::string& id_type, const std::string& id, const char* what) {
  return "profiles/" + id_type + ":" + percent_encoded(id) + "/" + what;
}

/// What is said of each profile with that id: none (404), one, or by email in `{"data": […]}` several.
std::vector<json> said_of(const std::string& id_type, const std::string& id, const char* what, const ReadPage& read,
                          TimePoint deadline) {
  const delivery::ReadResult result = read(profile_path(id_type, id, what), deadline);
  if (!result.error && result.status == 404) return {};
  json answer = parsed(result);
  if (id_type == "email" && answer.is_object() && answer.contains("data")) answer = json(std::move(answer["data"]));
  if (!answer.is_array()) return {std::move(answer)};
  return std::move(answer.get_ref<json::array_t&>());
}

std::vector<Profile> profiles_of(const std::string& id_type, const std::string& id, const ReadPage& read,
                                 TimePoint deadline) {
  std::vector<json> traits = said_of(id_type, id, "traits", read, deadline);
  if (traits.empty()) return {};
  std::vector<json> meta = said_of(id_type, id, "meta", read, deadline);
  if (traits.size() != meta.size()) fail("invalid_answer", "the server's answers do not name the same profiles");
  std::vector<Profile> profiles;
  for (std::size_t i = 0; i < meta.size(); ++i) {
    profiles.push_back({.id = id_type == "id" ? id : text_of(meta[i], "id"),
                        .user_id = id_type == "userId" ? id : text_of(meta[i], "userId"),
                        .traits = std::move(traits[i]),
                        .meta = std::move(meta[i])});
  }
  return profiles;
}

// What a caller asks for.

void check_names(const char* field, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name.empty()) throw ValidationError("empty", field, std::string(field) + " must not hold an empty name");
    if (name.find(',') != std::string::npos) {
      throw ValidationError("invalid_value", field,
                            std::string(field) + " must not hold a name with a comma: the API has no way to say it");
    }
  }
}

/// The type and the text of the id, of which at most one must be given.
std::pair<std::string, std::string> key_of(const std::string& user_id, const std::string& email,
                                           const std::string& id) {
  std::pair<std::string, std::string> key;
  for (const auto& [type, text] : {std::pair("userId", &user_id), std::pair("email", &email), std::pair("id", &id)}) {
    if (text->empty()) continue;
    if (!key.first.empty())
      throw ValidationError("invalid_value", type, std::string(type) + " and " + key.first + " must not both be given");
    key = {type, *text};
  }
  return key;
}

PageQuery page_query_of(const EventQuery& query) {
  return {.id_type = {},
          .id = {},
          .include = query.include,
          .exclude = query.exclude,
          .start = query.start,
          .end = query.end,
          .ascending = query.sort == Sort::ascending,
          .from = 0,
          .size = std::min(query.limit.value_or(page_size), page_size)};
}

/// Reads the members of a query that is JSON, and refuses what is none of them.
class QueryMembers {
 public:
  explicit QueryMembers(const json& query) : query_(query) {
    if (!query.is_object()) throw ValidationError("wrong_type", "", "a query must be an object");
  }

  std::string text(const char* name) {
    const json* const value = find(name);
    if (value == nullptr) return {};
    if (!value->is_string()) refuse_type(name, "text", *value);
    std::string text = value->get<std::string>();
    if (text.empty()) throw ValidationError("empty", name, std::string(name) + " must not be empty");
    return text;
  }
  std::vector<std::string> names(const char* name) {
    const json* const value = find(name);
    if (value == nullptr) return {};
    if (value->is_string()) return {value->get<std::string>()};
    std::vector<std::string> names;
    for (const json& element : value->is_array() ? *value : json::array({*value})) {
      if (!element.is_string()) refuse_type(name, "names of events", element);
      names.push_back(element.get<std::string>());
    }
    return names;
  }
  std::optional<Moment> moment(const char* name) {
    const std::string text = this->text(name);
    if (text.empty()) return std::nullopt;
    try {
      return event::under(name, [&] { return moment_at(event::parse_timestamp(text)); });
    } catch (event::BadValue& bad) {
      throw event::validation_error(std::move(bad));
    }
  }
  std::optional<std::size_t> count(const char* name) {
    const json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) refuse_type(name, "a whole number", *value);
    return value->is_number_unsigned() ? value->get<std::size_t>() : 0;  // which is as wrong as what is negative
  }
  Sort sort() {
    const std::string sort = text("sort");
    if (sort == "asc") return Sort::ascending;
    if (sort.empty() || sort == "desc") return Sort::descending;
    throw ValidationError("invalid_value", "sort", "sort must be asc or desc");
  }

  /// To be called last.
  void refuse_others() const {
    for (const auto& [name, value] : query_.items()) {
      if (value.is_null() || std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      throw ValidationError("unknown_field", name,
                            name + " is no field of this query" +
                                did_you_mean(name, std::vector<std::string_view>(known_.begin(), known_.end())));
    }
  }

 private:
  const json* find(const char* name) {
    known_.emplace_back(name);
    const auto found = query_.find(name);
    return found == query_.end() || found->is_null() ? nullptr : &*found;
  }
  [[noreturn]] static void refuse_type(const char* name, const char* expected, const json& met) {
    throw ValidationError("wrong_type", name, std::string(name) + " must be " + expected + ", not " + met.type_name());
  }

  const json& query_;
  std::vector<std::string> known_;
};

EventQuery event_query_of(const json& given) {
  QueryMembers members(given);
  EventQuery query{.user_id = members.text("userId"),
                   .email = members.text("email"),
                   .id = members.text("id"),
                   .include = members.names("include"),
                   .exclude = members.names("exclude"),
                   .start = members.moment("start"),
                   .end = members.moment("end"),
                   .sort = members.sort(),
                   .limit = members.count("limit")};
  members.refuse_others();
  return query;
}

ProfileKey profile_key_of(const json& given) {
  QueryMembers members(given);
  ProfileKey key{.user_id = members.text("userId"), .email = members.text("email"), .id = members.text("id")};
  members.refuse_others();
  if (key_of(key.user_id, key.email, key.id).first.empty())
    throw ValidationError("required", "userId", "one of userId, email and id must say whose profile");
  return key;
}

std::string email_of(const json& given) {
  QueryMembers members(given);
  std::string email = members.text("email");
  members.refuse_others();
  return email;
}

json or_null(const std::string& text) { return text.empty() ? json() : json(text); }
json or_null(const std::optional<std::int64_t>& number) { return number ? json(*number) : json(); }

json to_json(Event& event) {
  return {{"eventId", std::move(event.event_id)},
          {"eventTime", or_null(ms_of(event.event_time))},
          {"receivedTime", or_null(ms_of(event.received_time))},
          {"action", std::move(event.action)},
          {"name", std::move(event.name)},
          {"clientId", std::move(event.client_id)},
          {"accountId", std::move(event.account_id)},
          {"brandId", std::move(event.brand_id)},
          {"userId", or_null(event.user_id)},
          {"rawData", std::move(event.raw_data)}};
}

json to_json(Profile& profile) {
  return {{"id", or_null(profile.id)},
          {"userId", or_null(profile.user_id)},
          {"traits", std::move(profile.traits)},
          {"meta", std::move(profile.meta)}};
}

template <class T>
std::string to_text(std::vector<T> list) {
  json array = json::array();
  for (T& element : list) array.push_back(to_json(element));
  return array.dump();
}

}  // namespace

// One list of events.

void EventStream::fill(const ReadPage& read, TimePoint deadline) {
  while (!is_filled()) fetch(read, deadline);
}

void EventStream::fetch(const ReadPage& read, TimePoint deadline) {
  if (query_.from + query_.size > reach) move_window();
  delivery::ReadResult result = read(path_of(query_), deadline);
  if (query_.id.empty() && !result.error && result.status == 404)
    fail("not_found", "the server has no events to read back (404): check endpoint");
  json page = events_of(std::move(result));
  std::vector<Event> events;
  for (json& given : page) events.push_back(event_of(given));

  // The event that the window was moved to must be met again. Else the server leaves the bound itself out, and the
  // window is widened by a millisecond.
  if (std::exchange(bound_is_unproven_, false) && (events.empty() || ms_of(events.front().event_time) != last_ms_)) {
    bound_margin_ = milliseconds(query_.ascending ? -1 : 1);
    *bound() += bound_margin_;
    return;
  }
  for (Event& event : events) {
    last_ms_ = ms_of(event.event_time);
    const bool is_new = event.event_id.empty() || seen_.emplace(event.event_id, last_ms_).second;
    if (is_new) waiting_.push_back(std::move(event));
  }
  query_.from += query_.size;
  ended_ = page.size() < query_.size;
}

void EventStream::move_window() {
  if (!last_ms_) fail("invalid_answer", "an event has no eventTime, so reading cannot go on behind the first 10,000");
  const Moment moved = moment_at(*last_ms_) + bound_margin_;
  if (bound() == moved) {
    fail("too_many_at_once",
         "10,000 events or more lie in one millisecond, and the API shows no more of them; narrow it down with include "
         "or a user");
  }
  bound() = moved;
  query_.from = 0;
  bound_is_unproven_ = bound_margin_ == milliseconds(0);
  std::erase_if(seen_, [&](const auto& entry) { return !entry.second || std::abs(*entry.second - *last_ms_) > 1; });
}

// The events that a query wants.

EventReader::EventReader(EventQuery query)
    : query_(std::move(query)), left_(query_.limit.value_or(std::numeric_limits<std::size_t>::max())) {
  check_names("include", query_.include);
  check_names("exclude", query_.exclude);
  if (left_ == 0) throw ValidationError("out_of_bounds", "limit", "limit must be 1 or more");
  auto [id_type, id] = key_of(query_.user_id, query_.email, query_.id);
  if (id_type == "email") return;  // whose that is, the service must be asked
  add_stream(std::move(id_type), std::move(id));
  found_ = true;
}

void EventReader::add_stream(std::string id_type, std::string id) {
  PageQuery page = page_query_of(query_);
  page.id_type = std::move(id_type);
  page.id = std::move(id);
  streams_.emplace_back(std::move(page));
}

void EventReader::find_streams(const ReadPage& read, TimePoint deadline) {
  streams_.clear();
  for (const json& meta : said_of("email", query_.email, "meta", read, deadline)) {
    const std::string id = text_of(meta, "id");
    const std::string user_id = text_of(meta, "userId");
    if (id.empty() && user_id.empty()) fail("invalid_answer", "the server does not say whose the email is");
    add_stream(id.empty() ? "userId" : "id", id.empty() ? user_id : id);
  }
  found_ = true;
}

std::vector<Event> EventReader::next(const ReadPage& read, TimePoint deadline) {
  if (!found_) find_streams(read, deadline);
  for (EventStream& stream : streams_) {
    if (left_ > 0) stream.fill(read, deadline);
  }
  const auto comes_first = [&](EventStream& a, EventStream& b) {
    if (a.waiting().empty() || b.waiting().empty()) return !a.waiting().empty();
    const auto& a_time = a.waiting().front().event_time;
    const auto& b_time = b.waiting().front().event_time;
    return query_.sort == Sort::ascending ? a_time < b_time : a_time > b_time;
  };
  std::vector<Event> events;
  while (left_ > 0) {
    const auto first = std::min_element(streams_.begin(), streams_.end(), comes_first);
    if (first == streams_.end() || first->waiting().empty()) break;
    events.push_back(std::move(first->waiting().front()));
    first->waiting().pop_front();
    --left_;
    if (!first->is_filled()) break;
  }
  return events;
}

// Profiles.

std::vector<Profile> ProfileReader::next(const ReadPage& read, TimePoint deadline) {
  if (ended_) return {};
  if (!email_.empty()) {
    std::vector<Profile> profiles = profiles_of("email", email_, read, deadline);
    ended_ = true;
    return profiles;
  }
  const delivery::ReadResult result =
      read(scroll_id_.empty() ? "profiles" : "profiles?scrollId=" + percent_encoded(scroll_id_), deadline);
  if (!result.error && result.status == 404)
    fail("not_found", "the server has no profiles to read back (404): check endpoint");
  json page = parsed(result);
  json list = page.is_array() ? page : json();
  std::string scroll_id;
  if (page.is_object()) {
    if (const auto found = page.find("scrollId"); found != page.end() && !found->is_null())
      scroll_id = found->is_string() ? found->get<std::string>() : found->dump();
    // The contract names no wrapper.
    for (json& member : page) {
      if (member.is_array()) list = json(std::move(member));
    }
  }
  if (!list.is_array()) fail("invalid_answer", "the server's answer holds no list of profiles");
  std::vector<Profile> profiles;
  for (json& given : list) {
    Profile profile;
    profile.id = given.is_string() ? given.get<std::string>() : text_of(given, "id");
    profile.user_id = text_of(given, "userId");
    if (const auto traits = given.find("traits"); traits != given.end()) {
      profile.traits = std::move(*traits);
      given.erase("traits");
    }
    if (given.is_object()) profile.meta = std::move(given);
    profiles.push_back(std::move(profile));
  }
  scroll_id_ = std::move(scroll_id);
  ended_ = scroll_id_.empty() || profiles.empty();
  return profiles;
}

std::optional<Profile> find_profile(const ProfileKey& key, const ReadPage& read, TimePoint deadline) {
  const auto [id_type, id] = key_of(key.user_id, key.email, key.id);
  if (id_type.empty())
    throw ValidationError("required", "userId", "one of userId, email and id must say whose profile");
  std::vector<Profile> profiles = profiles_of(id_type, id, read, deadline);
  if (profiles.empty()) return std::nullopt;
  if (profiles.size() > 1) {
    throw ValidationError("ambiguous", "email",
                          std::to_string(profiles.size()) + " customers have this email; profiles() gives them all");
  }
  return std::move(profiles.front());
}

// In JSON.

JsonReader::JsonReader(std::string_view what, const json& query) : reader_(ProfileReader()) {
  if (what == "events") {
    reader_.emplace<EventReader>(event_query_of(query));
  } else if (what == "profile") {
    reader_.emplace<std::optional<ProfileKey>>(profile_key_of(query));
  } else {
    reader_.emplace<ProfileReader>(email_of(query));
  }
}

std::string JsonReader::next(const ReadPage& read, TimePoint deadline) {
  if (auto* const events = std::get_if<EventReader>(&reader_)) return to_text(events->next(read, deadline));
  if (auto* const profiles = std::get_if<ProfileReader>(&reader_)) return to_text(profiles->next(read, deadline));
  auto& key = std::get<std::optional<ProfileKey>>(reader_);
  std::vector<Profile> found;
  if (key) {
    if (std::optional<Profile> profile = find_profile(*key, read, deadline)) found.push_back(std::move(*profile));
    key.reset();
  }
  return to_text(std::move(found));
}

}  // namespace intilery::readback
