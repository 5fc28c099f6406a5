/// \file
/// The client.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "intilery/delivery.hpp"
#include "intilery/export.hpp"
#include "intilery/options.hpp"
#include "intilery/reading.hpp"

namespace intilery {

namespace memory {
class Outbox;
}

/// Text that is JSON already. It is checked once, in the call, and travels as it stands.
struct RawJson {
  std::string_view text;
  explicit constexpr RawJson(std::string_view json) : text(json) {}
};

/// What every event call takes beside its own arguments.
struct EventOptions {
  nlohmann::json context = {};  ///< An object; `Options::context` is merged under it.
  /// When it happened; default: now.
  std::optional<std::chrono::system_clock::time_point> timestamp = {};
  std::string anonymous_id = {};
  std::string message_id = {};                           ///< Default: a new UUIDv7 (RFC 9562).
  std::function<void(const Receipt&)> on_delivery = {};  ///< As `Delivery::on_done`.
};

/// How grave a log line is.
enum class LogLevel { debug, info, warning, error };

/// What a program wants to be told. Called on the client's own threads, each one call at a time.
struct Hooks {
  /// An event failed and nobody observes its delivery. Called as `Delivery::on_done`. Default: one log line for each
  /// kind of failure and second.
  std::function<void(const Receipt&)> on_failure = {};
  /// A log line. It never holds the token, and what an event holds only with `Options::debug`. Must not call the client
  /// nor wait for it; what it throws is ignored. Default: stderr, from `warning` up, or with `debug` everything.
  std::function<void(LogLevel, std::string_view)> on_log = {};
};

/// Sends events to Intilery: in order for each user, at the account's pace, each exactly as `Delivery` will tell.
///
/// Every member may be called from any thread. Event calls do not block (but with `OnFull::block`) and do no I/O: they
/// check, serialise and queue. One thread of the client's own does the rest.
///
/// After fork() a client and its deliveries are the parent's, which goes on. In the child, calls and waits throw
/// ClosedError, `flush` and `close` do nothing, and destroying the copy is safe: make a client there.
class INTILERY_API Client {
 public:
  /// \throws ConfigurationError naming the option.
  explicit Client(Options options, Hooks hooks = {});
  /// Closes, waiting up to `Options::exit_timeout`; what is left is counted in the log. A view closes nothing.
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  /// A client from `Options::from_env()`.
  static Client from_env(Hooks hooks = {});

  /// A view on this client for another brand of the account. Events through it go to that brand, and what is read back
  /// is that brand's; the queue, the connections, the rate and all else are this client's, so `flush`, `close` and
  /// `stats` are of the whole. A view that outlives its client is closed.
  /// \throws ConfigurationError naming `brand_id`.
  Client brand(std::string_view brand_id) const;

  /// Says who a user is. `traits` is an object, of any valid JSON.
  /// \throws ValidationError for a mistake in the call, ClosedError, QueueFullError (`OnFull::raise`, `block`).
  Delivery identify(std::string_view user_id, const nlohmann::json& traits, const EventOptions& options = {});

  /// Says what a user did. Throws as `identify`.
  Delivery track(std::string_view user_id, std::string_view event, const nlohmann::json& properties = {},
                 const EventOptions& options = {});

  /// Says which page a user, or with an empty `user_id` `options.anonymous_id`, saw. Throws as `identify`.
  Delivery page(std::string_view user_id, const nlohmann::json& properties = {}, const EventOptions& options = {});

  /// Says which screen of an app was seen. Throws as `identify`.
  Delivery screen(std::string_view user_id, std::string_view name = {}, const nlohmann::json& properties = {},
                  const EventOptions& options = {});

  /// Commands an email with merge data, an object whose members become the event's own. Throws as `identify`.
  Delivery send_email(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data = {},
                      const EventOptions& options = {});
  Delivery send_sms(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data = {},
                    const EventOptions& options = {});
  Delivery send_print(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data = {},
                      const EventOptions& options = {});
  Delivery send_push(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data = {},
                     const EventOptions& options = {});

  /// Commands the start of a journey, at `step_id` if that is not empty. Throws as `identify`.
  Delivery start_journey(std::string_view user_id, std::string_view journey_id, std::string_view step_id = {},
                         const nlohmann::json& data = {}, const EventOptions& options = {});

  /// Sends a whole message: `{"action": "track", "userId": …, "event": …}`, with the contract's field names.
  /// Throws as `identify`.
  Delivery send(const nlohmann::json& message, std::function<void(const Receipt&)> on_delivery = {});

  // The same with traits, properties or a message that are JSON text already. (Templates, so that a braced list always
  // means nlohmann::json.)
  template <std::same_as<RawJson> Raw>
  Delivery identify(std::string_view user_id, const Raw& traits, const EventOptions& options = {}) {
    return identify_raw(user_id, traits, options);
  }
  template <std::same_as<RawJson> Raw>
  Delivery track(std::string_view user_id, std::string_view event, const Raw& properties,
                 const EventOptions& options = {}) {
    return track_raw(user_id, event, properties, options);
  }
  template <std::same_as<RawJson> Raw>
  Delivery page(std::string_view user_id, const Raw& properties, const EventOptions& options = {}) {
    return page_raw(user_id, properties, options);
  }
  template <std::same_as<RawJson> Raw>
  Delivery screen(std::string_view user_id, std::string_view name, const Raw& properties,
                  const EventOptions& options = {}) {
    return screen_raw(user_id, name, properties, options);
  }
  template <std::same_as<RawJson> Raw>
  Delivery send(const Raw& message, std::function<void(const Receipt&)> on_delivery = {}) {
    return send_raw(message, std::move(on_delivery));
  }

  /// Sends what waits without waiting for `flush_at` or `flush_interval`, and returns when every event accepted before
  /// has its fate, or at the time-out.
  Flush flush(std::optional<std::chrono::milliseconds> timeout = std::nullopt);

  /// Accepts no more events, flushes, and stops. What has no fate by the time-out fails with reason `closed` and is
  /// counted as `remaining`. Without a time-out it waits for every fate (each has one by `delivery_timeout`).
  Flush close(std::optional<std::chrono::milliseconds> timeout = std::nullopt);

  Stats stats() const;

  /// Replaces the token, and goes on if the old one was refused.
  /// \throws ConfigurationError for a token that cannot be a header value.
  void set_auth_token(std::string token);

  /// Reads back which of these messages arrived, waiting up to `timeout` for those that are not there yet (the service
  /// processes asynchronously). Paced like everything else.
  /// \param message_ids ids of events sent before.
  /// \param user_id reads only this user's events, which is far quicker; empty: the brand's.
  /// \param start, end only events of this time are read, but however many there are (docs/data.md). Without a start
  /// the newest 10,000, and those since the ids were made if they say when (as the client's own do).
  /// \throws DeliveryError if reading fails for good, AuthError, TimeoutError, ClosedError.
  Verification verify(std::span<const std::string> message_ids, std::string_view user_id = {},
                      std::chrono::milliseconds timeout = std::chrono::seconds(30),
                      std::optional<std::chrono::system_clock::time_point> start = {},
                      std::optional<std::chrono::system_clock::time_point> end = {});

  /// Reads events back, a page whenever one is needed, paced like everything else. docs/reading.md has the limits.
  /// \throws ValidationError for a mistake in the query. What reading throws: see Reading.
  Reading<Event> events(EventQuery query = {});

  /// A customer's traits, and what else the service says of them; nothing if it knows nobody by that key.
  /// \throws ValidationError, also if several customers have the email; DeliveryError, AuthError, TimeoutError,
  /// ClosedError.
  std::optional<Profile> profile(const ProfileKey& key, std::chrono::milliseconds timeout = std::chrono::seconds(30));

  /// All customers, or those who have an email. Throws as `events`.
  /// \param timeout how long the next one may take.
  Reading<Profile> profiles(std::string email = {}, std::chrono::milliseconds timeout = std::chrono::seconds(30));

 protected:
  /// Whose requests end in memory; for testing::MemoryClient.
  Client(Options options, Hooks hooks, std::shared_ptr<memory::Outbox> outbox);

 private:
  struct Impl;
  Client(std::shared_ptr<Impl> impl, std::uint16_t brand);
  Delivery identify_raw(std::string_view, RawJson, const EventOptions&);
  Delivery track_raw(std::string_view, std::string_view, RawJson, const EventOptions&);
  Delivery page_raw(std::string_view, RawJson, const EventOptions&);
  Delivery screen_raw(std::string_view, std::string_view, RawJson, const EventOptions&);
  Delivery send_raw(RawJson, std::function<void(const Receipt&)>);
  std::shared_ptr<Impl> impl_;
  std::uint16_t brand_ = 0;  ///< Its number.
  bool view_ = false;        ///< The client is another's to close.
};

}  // namespace intilery
