/// \file
/// One event that waits: its wire bytes and what is needed to schedule it, in one allocation.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace intilery::queue {

using TimePoint = std::chrono::steady_clock::time_point;

struct EventDeleter;
struct Event;
using EventPtr = std::unique_ptr<Event, EventDeleter>;

/// The bytes lie behind the header. They are the event's JSON object without its closing brace, so that whoever sends
/// it can add `sentAt` without touching them; `messageId` is the last member.
struct Event {
  Event* next = nullptr;            ///< In whichever list holds it.
  std::uintptr_t tag = 0;           ///< Whose delivery this is; the observer's business.
  std::uint64_t lane = 0;           ///< Hash of the user and the brand (`lane_of`): events of one lane stay in order.
  std::uint64_t sequence = 0;       ///< Place in the order of acceptance.
  std::int64_t called_unix_us = 0;  ///< When it was made. The caller reads one clock only.
  TimePoint accepted{};             ///< When the I/O thread took it.
  std::uint32_t size = 0;
  std::uint32_t id_size = 0;  ///< Length of the message id as written (escaped).
  bool alone = false;         ///< Must not travel in a batch.
  bool has_sent_at = false;   ///< The caller gave `sentAt`.
  bool identifies = false;    ///< Its user's commands must wait until what it says has settled.
  bool commands = false;      ///< A command to its user.
  std::uint8_t action = 0;    ///< An `event::Action`.
  bool row = false;           ///< Of a source that can be read again.
  bool adopted = false;       ///< From another client's spool: nobody here waits for its fate.
  std::uint16_t spool_file = 0;
  std::uint16_t brand = 0;     ///< Its number in the client's `Brands`.
  std::int64_t spool_row = 0;  ///< Where it stands in the spool; 0: nowhere.

  /// Copies `bytes` behind a new header.
  static EventPtr make(std::string_view bytes);

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  /// What counts against `max_queue_bytes`: all the memory that it takes.
  std::size_t footprint() const { return sizeof(Event) + size; }
  std::string message_id() const;
};

/// The lane of a user of a brand. Applied twice, it gives the user's hash back.
constexpr std::uint64_t lane_of(std::uint64_t user_hash, std::uint16_t brand) {
  return user_hash ^ (brand * std::uint64_t{0x9e3779b97f4a7c15});
}

/// Has the caches fetch an event's header, if there is one: events come from other cores, or from long ago.
inline void prefetch(const Event* event) {
#if defined(__GNUC__)
  if (event == nullptr) return;
  __builtin_prefetch(event, 1);
  __builtin_prefetch(reinterpret_cast<const char*>(event + 1) - 1, 1);
#else
  static_cast<void>(event);
#endif
}

struct EventDeleter {
  void operator()(Event* event) const noexcept;
};

}  // namespace intilery::queue
