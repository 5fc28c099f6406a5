/// \file
/// A call becomes an event: the contract's rules, and the wire bytes.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "event/draft.hpp"
#include "event/json_check.hpp"
#include "event/message_id.hpp"
#include "intilery/errors.hpp"
#include "intilery/options.hpp"
#include "queue/event.hpp"

namespace intilery::plan {
class Guard;
}

namespace intilery::event {

/// Largest call that the vendor's documentation lets into a batch (32 KB in its smaller reading).
constexpr std::size_t max_batch_item_bytes = 32'000;

/// The error that a caller sees: the path is the message's subject.
ValidationError validation_error(BadValue bad);

/// What a client's events have in common.
class Encoder {
 public:
  /// \param guard the tracking plan, which must outlive the encoder; null: there is none.
  Encoder(const Options& options, std::string_view library_name, std::string_view library_version,
          const plan::Guard* guard = nullptr);

  /// Checks and serialises a call. May be called from any thread, also from within a ValueSource.
  /// \param id gets the event's message id.
  /// \throws ValidationError.
  queue::EventPtr encode(const Draft& draft, MessageId& id) const;

  /// The same for a whole message that `source` writes: `{"action": "track", "userId": …}`.
  queue::EventPtr encode_message(const ValueSource& source, MessageId& id) const;

 private:
  queue::EventPtr write(const Draft& draft, MessageId& id, JsonWriter& out) const;
  void write_context(const Draft& draft, JsonWriter& out) const;
  queue::EventPtr write_message(std::string_view json, MessageId& id, JsonWriter& out) const;

  struct ContextMember {
    std::string key;
    std::string json;  ///< `"key":value`.
  };
  bool allow_anonymous_;
  std::size_t max_event_bytes_;
  const plan::Guard* guard_;
  std::vector<ContextMember> context_;  ///< Merged under every event's own; the library last.
  std::string whole_context_;           ///< `{"library":…}`, for events without a context of their own.
};

/// Checks a command's merge data: an object that replaces none of the event's own fields. Throws BadValue.
void check_data(const ValueSource& data, Draft::Command command);

/// Finds the ids of four rows at once, for `RowOrigin::id`. Their drafts have a moment in milliseconds, or none.
/// \param bodies as the drafts will write them.
void derive_ids(std::span<const Draft, 4> drafts, const std::array<std::string_view, 4>& bodies,
                std::span<MessageId, 4> ids);

/// What is put behind an event's bytes when it leaves: `,"sentAt":"2019-11-18T13:30:11.444Z"}`.
std::string closing(std::int64_t unix_ms);
constexpr std::size_t closing_size = 37;

}  // namespace intilery::event
