/// \file
/// A call, before it becomes an event.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "event/json_writer.hpp"
#include "event/message_id.hpp"
#include "event/repeats.hpp"

namespace intilery::event {

enum class Action : std::uint8_t { identify, track, page, screen };

/// An object of the caller's language, and how it is written. Borrowed for the call.
struct ValueSource {
  const void* value = nullptr;
  /// Writes one JSON value, or throws BadValue with a path relative to it.
  void (*write)(JsonWriter&, const void* value) = nullptr;

  explicit operator bool() const { return write != nullptr; }
};

/// A source that writes JSON text which is known to be right. The view itself is borrowed, too.
inline ValueSource json_source(const std::string_view& json) {
  return {&json, [](JsonWriter& out, const void* value) { out.literal(*static_cast<const std::string_view*>(value)); }};
}
ValueSource json_source(std::string_view&&) = delete;

/// The row of a source of which an event is made. Its message id, where none is given, follows from this and from what
/// the event says, so that sending the row again gives the same id.
struct RowOrigin {
  std::string_view source = {};   ///< Tells sources apart that hold the same rows.
  std::uint64_t row = 0;          ///< Its number there, from 1.
  Repeats* repeats = nullptr;     ///< If given, the id has in the place of that its number among its equals.
  const MessageId* id = nullptr;  ///< If given, the id, as `derive_ids` found it.
};

/// The arguments of an event call, as any language gives them. Views live for the call. A text whose `data()` is null,
/// or a source without a `write`, was not given.
struct Draft {
  Action action = Action::track;
  std::string_view user_id = {};
  std::string_view anonymous_id = {};
  std::string_view event = {};  ///< track: its name. Commands: `send_email`, `start_journey` …
  std::string_view name = {};   ///< screen.
  ValueSource body = {};        ///< identify: traits; else properties.
  ValueSource context = {};
  std::string_view message_id = {};               ///< Not given: a new UUIDv7, or the row's (`RowOrigin`).
  std::optional<std::int64_t> timestamp_ms = {};  ///< Since the Unix epoch.
  std::string_view timestamp = {};                ///< Or as ISO-8601 text with a zone.
  std::optional<RowOrigin> origin = {};
  std::string_view sent_at = {};  ///< As ISO-8601 text; not given: added when the event leaves.

  // Commands only.
  std::string_view asset_id = {};
  std::string_view journey_id = {};
  std::string_view step_id = {};
  ValueSource data = {};  ///< An object whose members become the event's own.
  enum class Command : std::uint8_t { none, asset, journey } command = Command::none;
};

}  // namespace intilery::event
