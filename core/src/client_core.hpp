/// \file
/// The client without a language: what the C++ class and the two bindings share.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "brands.hpp"
#include "event/draft.hpp"
#include "event/message_id.hpp"
#include "intilery/client.hpp"
#include "intilery/delivery.hpp"
#include "intilery/options.hpp"
#include "queue/event.hpp"
#include "readback/verifier.hpp"
#include "waiting.hpp"

namespace intilery {

namespace delivery {
struct ReadResult;
}

/// What became of a request's events; shared by all of them.
struct Outcome {
  std::optional<std::string> event_id;
  int status = 0;
  int attempts = 0;
  Route route = Route::event;
  bool read_back = false;
  std::shared_ptr<const ErrorInfo> error;  ///< Without `message_id`. Empty: delivered.
  bool closing = false;                    ///< Failed for no other reason than that the client was closed.
  bool away = false;                       ///< Given up since the service was away, or its token refused, for too long.
};

/// Whether the program itself chose this failure (`before_send`): who does not observe the event is not told of it.
inline bool is_chosen(const ErrorInfo& error) { return error.code == "before_send"; }

/// The error of a call whose `before_send` threw `cause`.
ValidationError before_send_failed(std::exception_ptr cause);
/// The error of a call whose `before_send` returned neither an object nor nothing.
ValidationError before_send_returned(std::string_view kind);

/// One event with its final fate. The pointers live for the call that reports it.
struct Finished {
  std::uintptr_t tag = 0;
  const queue::Event* event = nullptr;  ///< Null for an event that never got so far (`OnInvalid::report`).
  std::shared_ptr<const Outcome> outcome;
  std::chrono::microseconds latency{0};
};

/// Calls `body(run)` for each run of fates that agree in `key(tag)`: a client's events are of one kind for long
/// stretches.
template <class Key, class Body>
void in_runs(std::span<const Finished> group, Key key, Body body) {
  for (auto from = group.begin(); from != group.end();) {
    const auto to = std::find_if(from, group.end(), [&](const Finished& f) { return key(f.tag) != key(from->tag); });
    body(std::span<const Finished>(from, to));
    from = to;
  }
}

/// Told of fates and log lines. Called on the client's I/O thread or on a caller's thread inside `submit`; from more
/// than one at a time. Must not block and must not call the core.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Fates, in groups. Each event is reported exactly once.
  virtual void finished(std::span<const Finished> group) = 0;
  virtual void log(LogLevel level, std::string_view line) = 0;
};

/// The client's library name and version, as events carry them in `context.library`.
struct Library {
  std::string name;  ///< `intilery-python`, `intilery-node`, `intilery-cpp`.
  std::string version;
};

/// Every member may be called from any thread.
class ClientCore {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// \throws ConfigurationError. `style` decides how an option's name is written in it.
  /// \param outbox if not null, requests end there, and nothing is sent.
  ClientCore(Options options, Library library, std::shared_ptr<Observer> observer, const OptionStyle& style = {},
             std::shared_ptr<memory::Outbox> outbox = nullptr);
  /// Closes without waiting: what has no fate fails with reason `closed`. Call `close` first.
  ~ClientCore();

  const Options& options() const;

  /// Whether this is a forked child and the client its parent's. Then nothing else here does anything: what cannot say
  /// so in its answer throws ClosedError.
  bool is_foreign() const;
  /// The number of one of the account's brands, for calls on it.
  /// \throws ConfigurationError naming `brand_id`, in the style that the constructor got.
  std::uint16_t brand(std::string_view name);

  /// Checks, serialises and queues one call. The observer reports `tag` exactly once if and only if this returns.
  /// \param id if not null, gets the event's message id (before the event can have a fate).
  /// \throws ValidationError (not with OnInvalid::report), ClosedError, QueueFullError (OnFull::raise, block).
  void submit(const event::Draft& draft, std::uintptr_t tag, event::MessageId* id, Waiting& waiting,
              std::uint16_t brand = Brands::own);

  /// The same for a whole message as JSON text (`{"action": "track", …}`). `source` writes it; it is then checked.
  void submit_message(const event::ValueSource& source, std::uintptr_t tag, event::MessageId* id, Waiting& waiting,
                      std::uint16_t brand = Brands::own);

  /// `submit` for a row of a source: a mistake is thrown whatever `on_invalid` says, and whatever `on_full` says it
  /// waits for room in the queue or, without `wait`, throws QueueFullError.
  void submit_row(const event::Draft& draft, std::uintptr_t tag, Waiting& waiting, bool wait,
                  std::uint16_t brand = Brands::own);
  /// The same for a whole message, such as `before_send` made of a row.
  void submit_row_message(const event::ValueSource& source, std::uintptr_t tag, Waiting& waiting, bool wait,
                          std::uint16_t brand = Brands::own);
  /// The JSON text of the event that a draft becomes, with its message id. \throws ValidationError.
  std::string preview(const event::Draft& draft) const;

  /// Fails `tag` with a mistake that the language layer found before it could make a draft: throws it, or reports it
  /// with OnInvalid::report.
  void refuse(const ValidationError& error, std::uintptr_t tag);

  /// Fails `tag` with an event that `before_send` dropped.
  /// \throws ClosedError.
  void drop(std::uintptr_t tag);

  Flush flush(std::optional<std::chrono::milliseconds> timeout, Waiting& waiting);
  Flush close(std::optional<std::chrono::milliseconds> timeout, Waiting& waiting);
  /// Whether no event is without a fate: a flush would return at once.
  bool is_idle() const;
  /// Calls `told` on the I/O thread as soon as no event is without a fate. False: none is now, and it is not called.
  bool when_idle(std::function<void()> told);
  Stats stats() const;
  void set_auth_token(std::string token);
  Verification verify(std::span<const std::string> message_ids, const readback::Where& where,
                      std::chrono::milliseconds timeout, Waiting& waiting, std::uint16_t brand = Brands::own);
  /// Performs one GET behind `/v1/`, paced like everything else.
  /// \throws TimeoutError at the deadline, ClosedError; DeliveryError with `dry_run`.
  delivery::ReadResult read(const std::string& path, TimePoint deadline, Waiting& waiting,
                            std::uint16_t brand = Brands::own);
  /// The event that `submit_row` would send. \throws ValidationError.
  queue::EventPtr row_event(const event::Draft& draft) const;
  /// The event that `submit_row_message` would send.
  queue::EventPtr row_event(const event::ValueSource& source) const;

  /// More of a reading (readback/reader.hpp).
  /// \throws what the reader does, and ClosedError, TimeoutError.
  template <class Reader>
  auto next(Reader& reader, std::chrono::milliseconds timeout, Waiting& waiting, std::uint16_t brand = Brands::own) {
    return reader.next(
        [&](const std::string& path, TimePoint deadline) { return read(path, deadline, waiting, brand); },
        std::chrono::steady_clock::now() + timeout);
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace intilery
