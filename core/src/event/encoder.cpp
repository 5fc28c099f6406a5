#include "event/encoder.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "event/contract.hpp"
#include "event/json_value.hpp"
#include "event/timestamp.hpp"
#include "intilery/errors.hpp"
#include "nearest.hpp"
#include "plan/guard.hpp"
#include "printable.hpp"

namespace intilery::event {

namespace {

/// A writer of this thread's. A ValueSource may call the client again before its event is finished (Python's
/// `default`, a getter), so each level of calls has its own.
class Scratch {
 public:
  Scratch() : pool_(pool()), level_(pool_.used++) {
    if (pool_.writers.size() <= level_) pool_.writers.push_back(std::make_unique<JsonWriter>());
    pool_.writers[level_]->clear();
  }
  ~Scratch() { --pool_.used; }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  JsonWriter& writer() { return *pool_.writers[level_]; }

 private:
  struct Pool {
    std::vector<std::unique_ptr<JsonWriter>> writers;
    std::size_t used = 0;
  };
  static Pool& pool() {
    thread_local Pool pool;
    return pool;
  }
  Pool& pool_;
  std::size_t level_;
};

/// Makes the error that the caller sees.
template <class Body>
auto as_validation_error(Body body) {
  try {
    return body();
  } catch (BadValue& bad) {
    throw validation_error(std::move(bad));
  }
}

[[noreturn]] void refuse_missing(std::string_view field, std::string_view hint = {}) {
  throw BadValue{"required", "is required" + std::string(hint), std::string(field)};
}

/// The name in a fragment `,"name":`.
template <std::size_t N>
constexpr std::string_view name_in(const char (&key)[N]) {
  return std::string_view(key, N - 1).substr(2, N - 1 - 4);
}

/// Writes a text member. `key` is `,"name":`.
template <std::size_t N>
void write_text(JsonWriter& out, const char (&key)[N], std::string_view text) {
  under(name_in(key), [&] {
    if (text.empty()) throw BadValue{"empty", "must not be empty", ""};
    out.fixed(key);
    out.string(text);
  });
}

template <std::size_t N>
void write_timestamp(JsonWriter& out, const char (&key)[N], std::int64_t unix_ms) {
  const TimestampText text = format_timestamp(unix_ms);
  out.fixed(key);
  out.plain({text.data(), text.size()});
}

/// Writes `"field":{…}`. Nothing if the source has null.
/// \returns the object's text, or an empty one.
std::string_view write_object(JsonWriter& out, std::string_view field, const ValueSource& source) {
  return under(field, [&]() -> std::string_view {
    const std::size_t before = out.size();
    out.plain_key(field);
    const std::size_t from = out.size();
    out.set_depth(0);
    source.write(out, source.value);
    const std::string_view text = out.view().substr(from);
    if (text == "null") {
      out.truncate(before);
      return {};
    }
    if (text.front() != '{') refuse_type("an object", kind_of(text));
    return text;
  });
}

/// Writes the members of a command's data as the event's own.
/// \param check called with the data's text as it is given.
template <class Check>
void write_data(JsonWriter& out, const ValueSource& source, Draft::Command command, Check check) {
  under("data", [&] {
    const std::size_t from = out.size();
    out.set_depth(0);
    source.write(out, source.value);
    const std::string_view text = out.view().substr(from);
    if (text == "null" || text == "{}") {
      out.truncate(from);
      return check(std::string_view());
    }
    if (text.front() != '{') refuse_type("an object", kind_of(text));
    for (const JsonMember& member : members_of(text)) {
      if (is_reserved(member.key, command)) {
        under(member.key, [] {
          throw BadValue{"reserved_field", "is a field of the event's own; merge data must use another name", ""};
        });
      }
    }
    check(text);
    out.at(from) = ',';
    out.truncate(out.size() - 1);
  });
}

/// What docs/data.md says of a row's message id.
class OriginParts {
 public:
  OriginParts(const Draft& draft, std::uint64_t number, std::int64_t moment, std::string_view body) {
    const char* const end = std::to_chars(number_.data(), number_.data() + number_.size(), number).ptr;
    const bool timed = draft.timestamp_ms || draft.timestamp.data() != nullptr;
    if (timed) timestamp_ = format_timestamp(moment);
    parts_ = {draft.origin->source,
              {number_.data(), static_cast<std::size_t>(end - number_.data())},
              name_of(draft.action),
              draft.user_id,
              draft.anonymous_id,
              draft.event,
              {timestamp_.data(), timed ? timestamp_.size() : 0},
              body};
  }
  OriginParts(const OriginParts&) = delete;
  OriginParts& operator=(const OriginParts&) = delete;

  std::span<const std::string_view> parts() const { return parts_; }

 private:
  std::array<char, 20> number_;
  TimestampText timestamp_;
  std::array<std::string_view, 8> parts_;
};

MessageId derived_id(const Draft& draft, std::int64_t moment, std::string_view body) {
  if (draft.origin->id != nullptr) return *draft.origin->id;
  const auto with = [&](std::uint64_t number) {
    return MessageId::derive(OriginParts(draft, number, moment, body).parts());
  };
  if (draft.origin->repeats == nullptr) return with(draft.origin->row);
  MessageId first = with(1);
  const std::uint64_t number = draft.origin->repeats->number(draft.origin->row, first);
  return number == 1 ? first : with(number);
}

}  // namespace

ValidationError validation_error(BadValue bad) {
  const std::string subject = bad.path.empty() ? "the event" : printable(bad.path);
  return {std::move(bad.code), std::move(bad.path), subject + " " + bad.message};
}

void derive_ids(std::span<const Draft, 4> drafts, const std::array<std::string_view, 4>& bodies,
                std::span<MessageId, 4> ids) {
  const auto of = [&](std::size_t i) {
    return OriginParts(drafts[i], drafts[i].origin->row, drafts[i].timestamp_ms.value_or(0), bodies[i]);
  };
  const OriginParts rows[4] = {of(0), of(1), of(2), of(3)};
  MessageId::derive({rows[0].parts(), rows[1].parts(), rows[2].parts(), rows[3].parts()}, ids);
}

void check_data(const ValueSource& data, Draft::Command command) {
  Scratch scratch;
  write_data(scratch.writer(), data, command, [](std::string_view) {});
}

Encoder::Encoder(const Options& options, std::string_view library_name, std::string_view library_version,
                 const plan::Guard* guard)
    : allow_anonymous_(options.allow_anonymous),
      max_event_bytes_(options.max_event_bytes.value_or(options.max_request_bytes)),
      guard_(guard) {
  nlohmann::json library{{"name", library_name}, {"version", library_version}};
  for (const auto& [key, value] : options.context.items()) {
    JsonWriter out;
    try {
      write_json(out, {{key, value}});
    } catch (const BadValue& bad) {
      throw ConfigurationError("context", bad.code, "context." + bad.path + " " + bad.message);
    }
    context_.push_back({key, std::string(out.view().substr(1, out.size() - 2))});
  }
  const auto is_library = [](const ContextMember& member) { return member.key == "library"; };
  if (std::none_of(context_.begin(), context_.end(), is_library)) {
    context_.push_back({"library", "\"library\":" + library.dump()});
  }
  for (const ContextMember& member : context_) {
    whole_context_ += (whole_context_.empty() ? "{" : ",") + member.json;
  }
  whole_context_ += '}';
}

queue::EventPtr Encoder::encode(const Draft& draft, MessageId& id) const {
  Scratch scratch;
  return as_validation_error([&] { return write(draft, id, scratch.writer()); });
}

queue::EventPtr Encoder::encode_message(const ValueSource& source, MessageId& id) const {
  Scratch message;
  Scratch scratch;
  return as_validation_error([&] {
    message.writer().set_depth(-1);  // the event's own braces do not count
    if (source) {
      source.write(message.writer(), source.value);
    } else {
      message.writer().fixed("null");
    }
    return write_message(message.writer().view(), id, scratch.writer());
  });
}

queue::EventPtr Encoder::write(const Draft& draft, MessageId& id, JsonWriter& out) const {
  const bool has_user = draft.user_id.data() != nullptr;
  const bool has_anonymous = draft.anonymous_id.data() != nullptr;
  const bool anonymous_will_do = draft.action == Action::page || draft.action == Action::screen || allow_anonymous_;
  // Each member brings its comma; the first one's becomes the brace.
  if (has_user) {
    write_text(out, ",\"userId\":", draft.user_id);
  } else if (!has_anonymous || !anonymous_will_do || draft.command != Draft::Command::none) {
    refuse_missing("userId", anonymous_will_do ? ", or anonymousId" : has_anonymous ? " (allow_anonymous is off)" : "");
  }
  if (has_anonymous) write_text(out, ",\"anonymousId\":", draft.anonymous_id);
  out.at(0) = '{';

  Draft::Command command = draft.command;
  if (draft.action == Action::track) {
    if (draft.event.data() == nullptr) refuse_missing("event");
    write_text(out, ",\"event\":", draft.event);
    if (command == Draft::Command::none) command = command_named(draft.event);
  } else {
    out.fixed(",\"event\":");
    out.plain(name_of(draft.action));
  }
  if (draft.name.data() != nullptr) write_text(out, ",\"name\":", draft.name);

  if (command == Draft::Command::asset) {
    if (draft.asset_id.data() == nullptr) {
      refuse_missing("assetId", draft.command == command ? "" : ": this event is a command; use its own call");
    }
    write_text(out, ",\"assetId\":", draft.asset_id);
  }
  std::string_view body;
  const std::string_view body_field = draft.action == Action::identify ? "traits" : "properties";
  if (draft.body) body = write_object(out, body_field, draft.body);
  if (draft.command == Draft::Command::journey && !draft.body) {
    out.plain_key(body_field);
    const std::size_t from = out.size();
    under(body_field, [&] {
      if (draft.journey_id.data() != nullptr) write_text(out, ",\"journeyIdToTrigger\":", draft.journey_id);
      if (draft.step_id.data() != nullptr) write_text(out, ",\"stepIdToTrigger\":", draft.step_id);
    });
    if (out.size() == from) {
      out.fixed("{}");
    } else {
      out.at(from) = '{';
      out.fixed("}");
    }
    body = out.view().substr(from);
  }
  if (draft.action == Action::identify) {
    if (body.empty()) refuse_missing(body_field);
    under(body_field, [&] { check_marketing_preferences(body); });
  }
  if (command == Draft::Command::journey) under(body_field, [&] { check_journey(body); });
  const std::size_t body_at = body.empty() ? 0 : static_cast<std::size_t>(body.data() - out.view().data());
  const std::size_t body_size = body.size();  // what is written next may move the whole text, and leave `body` dangling
  const auto check_plan = [&](std::string_view planned) {
    if (guard_ != nullptr) guard_->check(draft.action, command != Draft::Command::none, draft.event, planned);
  };
  if (draft.data) {
    write_data(out, draft.data, command, check_plan);
  } else {
    check_plan(command == Draft::Command::none ? body : std::string_view());
  }
  write_context(draft, out);

  const std::int64_t now_us = unix_now_us();
  const std::int64_t now = now_us / 1000;
  std::int64_t moment = draft.timestamp_ms.value_or(now);
  under("timestamp", [&] {
    if (draft.timestamp.data() != nullptr) moment = parse_timestamp(draft.timestamp);
    check_timestamp(moment);
  });
  write_timestamp(out, ",\"timestamp\":", moment);
  if (draft.sent_at.data() != nullptr) {
    write_timestamp(out, ",\"sentAt\":", under("sentAt", [&] { return parse_timestamp(draft.sent_at); }));
  }

  out.fixed(",\"messageId\":");
  const std::size_t before_id = out.size();
  if (draft.message_id.data() != nullptr) {
    under("messageId", [&] {
      if (draft.message_id.empty()) throw BadValue{"empty", "must not be empty", ""};
      if (draft.message_id.size() > 255) throw BadValue{"too_large", "must have at most 255 bytes", ""};
      out.string(draft.message_id);
    });
    id = MessageId::from_caller(std::string(draft.message_id));
  } else {
    if (draft.origin) {
      id = derived_id(draft, moment, out.view().substr(body_at, body_size));
    } else {
      id.renew(now);
    }
    char text[36];
    id.write_uuid(text);
    out.plain({text, sizeof text});
  }

  const std::size_t sent_size = out.size() + closing_size;
  if (sent_size > max_event_bytes_) {
    throw BadValue{
        "too_large",
        "has " + std::to_string(sent_size) + " bytes; max_event_bytes is " + std::to_string(max_event_bytes_), ""};
  }
  queue::EventPtr event = queue::Event::make(out.view());
  event->called_unix_us = now_us;
  event->id_size = static_cast<std::uint32_t>(out.size() - before_id - 2);
  event->lane = std::hash<std::string_view>{}(has_user ? draft.user_id : draft.anonymous_id);
  event->has_sent_at = draft.sent_at.data() != nullptr;
  event->identifies = draft.action == Action::identify;
  event->commands = command != Draft::Command::none;
  event->action = static_cast<std::uint8_t>(draft.action);
  // Inside a batch, an event's name says its action: a track event of that name would change its meaning.
  const bool ambiguous =
      draft.action == Action::track && (draft.event == "identify" || draft.event == "page" || draft.event == "screen");
  event->alone = ambiguous || sent_size > max_batch_item_bytes;
  return event;
}

void Encoder::write_context(const Draft& draft, JsonWriter& out) const {
  std::string_view own;
  if (draft.context) own = write_object(out, "context", draft.context);
  if (own.empty()) {
    out.fixed(",\"context\":");
    out.literal(whole_context_);
    return;
  }
  // A key that is nowhere in a text without escapes is surely no member; only else is it worth reading the members.
  std::optional<std::vector<JsonMember>> members;
  const bool escapes = own.find('\\') != std::string_view::npos;
  const auto has = [&](const std::string& key) {
    if (!escapes && own.find(key) == std::string_view::npos) return false;
    if (!members) members = members_of(own);
    return std::any_of(members->begin(), members->end(), [&](const JsonMember& m) { return m.key == key; });
  };
  std::string added;
  for (const ContextMember& member : context_) {
    if (has(member.key)) continue;
    if (own != "{}" || !added.empty()) added += ',';
    added += member.json;
  }
  out.truncate(out.size() - 1);
  out.literal(added);
  out.literal("}");
}

queue::EventPtr Encoder::write_message(std::string_view json, MessageId& id, JsonWriter& out) const {
  if (trim(json).empty() || trim(json).front() != '{') refuse_type("an object", kind_of(trim(json)));
  std::vector<JsonMember> members;
  check_json(json, &members, JsonWriter::max_depth + 1);

  std::vector<std::string> texts;  // what the draft's views point to
  texts.reserve(members.size());
  const auto find = [&](std::string_view key) -> const std::string_view* {
    const auto found = std::find_if(members.begin(), members.end(), [&](const JsonMember& m) { return m.key == key; });
    return found == members.end() || found->value == "null" ? nullptr : &found->value;
  };
  const auto text = [&](std::string_view key) -> std::string_view {
    const std::string_view* value = find(key);
    if (value == nullptr) return {};
    if (value->front() != '"') under(key, [&] { refuse_type("text", kind_of(*value)); });
    return texts.emplace_back(unescape(*value));
  };
  const auto object = [&](std::string_view key) -> ValueSource {
    const std::string_view* value = find(key);
    return value == nullptr ? ValueSource{} : json_source(*value);
  };

  Draft draft;
  const std::string_view action = text("action");
  if (action.data() == nullptr) refuse_missing("action", ": identify, track, page or screen");
  draft.action = under("action", [&] { return action_named(action); });
  draft.user_id = text("userId");
  draft.anonymous_id = text("anonymousId");
  draft.message_id = text("messageId");
  draft.timestamp = text("timestamp");
  draft.sent_at = text("sentAt");
  draft.event = text("event");
  draft.context = object("context");
  if (draft.action == Action::track) {
    draft.command = command_named(draft.event);
  } else if (draft.event.data() != nullptr && draft.event != name_of(draft.action)) {
    throw BadValue{"invalid_value", "must be \"" + std::string(name_of(draft.action)) + "\" for this action", "event"};
  }
  if (draft.action == Action::screen) draft.name = text("name");
  if (draft.command == Draft::Command::asset) draft.asset_id = text("assetId");
  // `properties` of an email, say, is merge data like any other.
  const bool body_is_data = draft.command == Draft::Command::asset;
  if (!body_is_data) draft.body = object(draft.action == Action::identify ? "traits" : "properties");

  std::string data;
  const std::span<const std::string_view> known = fields_of(draft.action);
  for (const JsonMember& member : members) {
    if (draft.command != Draft::Command::none) {
      if (is_reserved(member.key, draft.command)) continue;
      data += (data.empty() ? "{" : ",") + nlohmann::json(member.key).dump() + ":";
      data += member.value;
    } else if (member.key != "sentAt" && std::find(known.begin(), known.end(), member.key) == known.end()) {
      under(member.key, [&] {
        throw BadValue{"unknown_field", "is no field of this action" + did_you_mean(member.key, known), ""};
      });
    }
  }
  if (!data.empty()) data += '}';
  const std::string_view data_view = data;
  if (!data.empty()) draft.data = json_source(data_view);
  return write(draft, id, out);
}

std::string closing(std::int64_t unix_ms) {
  const TimestampText text = format_timestamp(unix_ms);
  return ",\"sentAt\":\"" + std::string(text.data(), text.size()) + "\"}";
}

}  // namespace intilery::event
