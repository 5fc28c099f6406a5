#include "call.hpp"

#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event/bad_value.hpp"
#include "event/encoder.hpp"
#include "suspicion.hpp"

namespace intilery::node {

namespace {

using event::BadValue;
using Place = TextReader::Place;

/// A value that values.cjs refused. The core's own words make the message, so that all languages say the same.
struct Refused {
  std::string code;
  std::string detail;
  double number = 0;
  struct Step {
    std::string key;
    std::optional<std::size_t> index;
  };
  std::vector<Step> path;

  [[noreturn]] void raise() const {
    try {
      if (code == "not_finite") event::refuse_not_finite(number);
      if (code == "unsupported_type") event::refuse_unsupported(detail);
      if (code == "invalid_key") event::refuse_key(detail);
      if (code == "invalid_text") event::refuse_text();
      if (code == "cycle") event::refuse_cycle();
      if (code == "too_deep") event::refuse_depth();
      if (code == "invalid_date") event::refuse_date();
      event::refuse_type("an object", detail);
    } catch (BadValue& bad) {
      for (auto step = path.rbegin(); step != path.rend(); ++step) {
        if (step->index) {
          bad.at(*step->index);
        } else {
          bad.under(step->key);
        }
      }
      throw;
    }
  }
};

std::string to_utf8(napi_env env, napi_value value) {
  TextReader reader;
  Place place;
  return reader.read(env, value, place) ? std::string(reader.view(place)) : std::string();
}

Refused read_refused(napi_env env, napi_value array) {
  Refused refused;
  std::uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  for (std::uint32_t i = 0; i < length; ++i) {
    napi_value item = nullptr;
    napi_get_element(env, array, i, &item);
    double number = 0;
    const bool is_number = napi_get_value_double(env, item, &number) == napi_ok;
    if (i == 0) {
      refused.code = to_utf8(env, item);
    } else if (i == 1) {
      refused.detail = to_utf8(env, item);
      refused.number = number;
    } else if (is_number) {
      refused.path.push_back({{}, static_cast<std::size_t>(number)});
    } else {
      refused.path.push_back({to_utf8(env, item), {}});
    }
  }
  return refused;
}

/// The kind of a JavaScript value, as errors name it.
std::string_view kind_of(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  bool is_array = false;
  switch (type) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "text";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      napi_is_array(env, value, &is_array);
      return is_array ? "an array" : "an object";
  }
}

/// A value of a call, and what a ValueSource points to.
struct Value {
  napi_env env = nullptr;
  napi_value given = nullptr;  ///< Null: not given.
  bool is_text = false;
  Place place;  ///< Of the JSON text, if it is one; else values.cjs says why it cannot travel.
  std::string_view text;

  event::ValueSource source() const {
    if (given == nullptr) return {};
    return {this, [](event::JsonWriter& out, const void* self) {
              const Value& value = *static_cast<const Value*>(self);
              if (!value.is_text) read_refused(value.env, value.given).raise();
              out.literal(value.text);
            }};
  }
};

/// One call's arguments.
class Arguments {
 public:
  Arguments(napi_env env, std::span<const napi_value> values, TextReader& reader)
      : env_(env), values_(values), reader_(reader) {
    reader.clear();
  }

  napi_value operator[](Argument argument) const { return values_[static_cast<std::size_t>(argument)]; }

  /// False for undefined and null.
  bool has(Argument argument) const {
    napi_valuetype type = napi_undefined;
    napi_typeof(env_, (*this)[argument], &type);
    return type != napi_undefined && type != napi_null;
  }

  /// Reads a text. `field` is how the caller knows it.
  std::optional<Place> text(Argument argument, std::string_view field) const {
    Place place;
    // Most arguments that are given are strings: asking for the type first would be a call more for each.
    if (reader_.read(env_, (*this)[argument], place)) return place;
    if (has(argument)) {
      event::under(field, [&] { event::refuse_type("text", kind_of(env_, (*this)[argument])); });
    }
    return {};
  }

  Value value(Argument argument) const {
    Value value{.env = env_, .given = (*this)[argument], .is_text = false, .place = {}, .text = {}};
    value.is_text = reader_.read_json(env_, value.given, value.place);
    if (!value.is_text && !has(argument)) value.given = nullptr;
    return value;
  }

 private:
  napi_env env_;
  std::span<const napi_value> values_;
  TextReader& reader_;
};

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

bool is_ascii(std::string_view text) {
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  std::uint64_t all = 0;
  std::size_t i = 0;
  for (; i + sizeof all <= text.size(); i += sizeof all) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof word);
    all |= word;
  }
  for (; i < text.size(); ++i) all |= static_cast<unsigned char>(text[i]);
  return (all & high_bits) == 0;
}

CallKind kind_in(std::uint32_t code) { return static_cast<CallKind>(code & (exact_call - 1)); }
std::uint16_t brand_in(std::uint32_t code) { return static_cast<std::uint16_t>(code >> brand_shift); }

/// \param draft gets action and command.
void set_kind(event::Draft& draft, CallKind kind) {
  switch (kind) {
    case CallKind::identify:
      draft.action = event::Action::identify;
      break;
    case CallKind::page:
      draft.action = event::Action::page;
      break;
    case CallKind::screen:
      draft.action = event::Action::screen;
      break;
    case CallKind::asset:
      draft.command = event::Draft::Command::asset;
      break;
    case CallKind::journey:
      draft.command = event::Draft::Command::journey;
      break;
    default:
      break;
  }
}

/// Where in UTF-8 that Node-API made of UTF-16 the next `units` of that end. Nothing if they are not told apart for
/// certain from what follows, or if half a surrogate pair may have been among them, which is U+FFFD now.
std::optional<std::size_t> after_units(std::string_view utf8, std::size_t from, std::size_t units) {
  std::size_t end = from;
  for (std::size_t count = 0; count < units || (end < utf8.size() && is_continuation(utf8[end])); ++end) {
    if (end == utf8.size()) return std::nullopt;
    if (!is_continuation(utf8[end])) count += static_cast<unsigned char>(utf8[end]) < 0xF0 ? 1 : 2;
    if (count > units) return std::nullopt;  // the halves of two texts became one character
  }
  if (may_hide_surrogate(utf8.substr(from, end - from))) return std::nullopt;
  return end;
}

}  // namespace

Submitted submit_joined(napi_env env, std::span<const napi_value, 3> arguments, ClientCore& core, TextReader& reader,
                        std::uintptr_t tag, event::MessageId& id) {
  std::uint32_t code = 0;
  std::uint32_t lengths = 0;
  Place place;
  reader.clear();
  if (napi_get_value_uint32(env, arguments[0], &code) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &lengths) != napi_ok || !reader.read_json(env, arguments[2], place)) {
    return Submitted::suspicious;
  }
  const std::string_view text = reader.view(place);
  const std::size_t user_units = lengths & ((1U << name_shift) - 1);
  const std::size_t name_units = lengths >> name_shift;
  std::size_t user_end = user_units;
  std::size_t name_end = user_units + name_units;
  if (!is_ascii(text.substr(0, name_end))) {
    const auto user = after_units(text, 0, user_units);
    const auto name = user ? after_units(text, *user, name_units) : std::nullopt;
    if (!name) return Submitted::suspicious;
    user_end = *user;
    name_end = *name;
  }
  const std::string_view body = text.substr(name_end);
  if (is_suspicious(body)) return Submitted::suspicious;

  const CallKind kind = kind_in(code);
  event::Draft draft;
  set_kind(draft, kind);
  draft.user_id = text.substr(0, user_end);
  if (kind == CallKind::track) draft.event = text.substr(user_end, name_end - user_end);
  draft.body = event::json_source(body);
  Waiting waiting;
  core.submit(draft, tag, &id, waiting, brand_in(code));
  return Submitted::yes;
}

Submitted submit_parts(napi_env env, std::span<const napi_value> given, ClientCore& core, TextReader& reader,
                       std::uintptr_t tag, event::MessageId& id) {
  const Arguments arguments(env, given, reader);
  std::uint32_t code = 0;
  napi_get_value_uint32(env, arguments[Argument::kind], &code);
  const bool exact = (code & exact_call) != 0;
  const CallKind kind = kind_in(code);
  const std::uint16_t brand = brand_in(code);
  Waiting waiting;

  // A mistake found here must end as one that the core finds: thrown, or reported.
  try {
    const auto user_id = arguments.text(Argument::user_id, "userId");
    Value body = arguments.value(Argument::body);
    const auto name = arguments.text(Argument::event, kind == CallKind::screen ? "name" : "event");
    const auto anonymous_id = arguments.text(Argument::anonymous_id, "anonymousId");
    Value context = arguments.value(Argument::context);
    const auto message_id = arguments.text(Argument::message_id, "messageId");
    const auto target = arguments.text(Argument::target, kind == CallKind::journey ? "journeyId" : "assetId");
    const auto step_id = arguments.text(Argument::step_id, "stepId");
    Value data = arguments.value(Argument::data);

    event::Draft draft;
    std::optional<Place> moment;
    if (arguments.has(Argument::timestamp)) {
      double unix_ms = 0;
      if (napi_get_value_double(env, arguments[Argument::timestamp], &unix_ms) == napi_ok) {
        if (std::isnan(unix_ms)) event::under("timestamp", event::refuse_date);
        draft.timestamp_ms = static_cast<std::int64_t>(unix_ms);  // a Date's range fits
      } else {
        moment = arguments.text(Argument::timestamp, "timestamp");
      }
    }

    // All is read: the texts stay where they are.
    const auto view = [&](const std::optional<Place>& place) {
      return place ? reader.view(*place) : std::string_view();
    };
    for (Value* value : {&body, &context, &data}) {
      if (!value->is_text) continue;
      value->text = reader.view(value->place);
      if (!exact && is_suspicious(value->text)) return Submitted::suspicious;
    }
    draft.body = body.source();
    draft.context = context.source();
    draft.data = data.source();
    if (kind == CallKind::message) {
      core.submit_message(draft.body, tag, &id, waiting, brand);
      return Submitted::yes;
    }
    draft.user_id = view(user_id);
    draft.anonymous_id = view(anonymous_id);
    draft.message_id = view(message_id);
    draft.timestamp = view(moment);
    (kind == CallKind::screen ? draft.name : draft.event) = view(name);
    set_kind(draft, kind);
    (kind == CallKind::journey ? draft.journey_id : draft.asset_id) = view(target);
    draft.step_id = view(step_id);
    core.submit(draft, tag, &id, waiting, brand);
  } catch (BadValue& bad) {
    core.refuse(event::validation_error(std::move(bad)), tag);
  }
  return Submitted::yes;
}

void check_data(napi_env env, napi_value data, event::Draft::Command command) {
  TextReader reader;
  Value value{.env = env, .given = data, .is_text = false, .place = {}, .text = {}};
  value.is_text = reader.read_json(env, data, value.place);
  if (value.is_text) value.text = reader.view(value.place);
  event::check_data(value.source(), command);
}

void raise_refused(napi_env env, napi_value refused) { read_refused(env, refused).raise(); }

}  // namespace intilery::node
