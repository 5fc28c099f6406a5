#include "intilery/client.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "client_core.hpp"
#include "delivery_state.hpp"
#include "event/bad_value.hpp"
#include "event/contract.hpp"
#include "event/encoder.hpp"
#include "event/json_check.hpp"
#include "event/json_value.hpp"
#include "event/timestamp.hpp"
#include "failure_log.hpp"
#include "intilery/version.hpp"
#include "readback/reader.hpp"

namespace intilery {

namespace {

using Callback = std::function<void(const Receipt&)>;
using Clock = std::chrono::steady_clock;
using event::Action;
using event::Draft;
using event::ValueSource;
using std::chrono::milliseconds;

void write_raw(event::JsonWriter& out, const void* value) {
  event::write_checked_json(out, static_cast<const RawJson*>(value)->text);
}
ValueSource raw_source(const RawJson& json) { return {&json, write_raw}; }

void write_value(event::JsonWriter& out, const void* value) {
  event::write_json(out, *static_cast<const nlohmann::json*>(value));
}

/// What a source holds; every one here is of RawJson or nlohmann::json. Throws BadValue.
nlohmann::json value_of(const ValueSource& source) {
  if (source.write != write_raw) return *static_cast<const nlohmann::json*>(source.value);
  const std::string_view text = static_cast<const RawJson*>(source.value)->text;
  event::check_json(text, nullptr, event::JsonWriter::max_depth + 1);
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    throw event::BadValue{"invalid_value", "has a number that is too large for before_send", ""};
  return value;
}

/// A call as `send` takes it, with the members that the call gave. Throws BadValue.
nlohmann::json message_of(const Draft& draft) {
  nlohmann::json message{{"action", event::name_of(draft.action)}};
  const auto text = [](nlohmann::json& object, const char* key, std::string_view given) {
    if (given.data() != nullptr) object[key] = given;
  };
  const auto value = [&](const char* key, const ValueSource& given) {
    if (given) event::under(key, [&] { message[key] = value_of(given); });
  };
  text(message, "userId", draft.user_id);
  text(message, "anonymousId", draft.anonymous_id);
  text(message, "event", draft.event);
  text(message, "name", draft.name);
  text(message, "assetId", draft.asset_id);
  value(draft.action == Action::identify ? "traits" : "properties", draft.body);
  if (draft.command == Draft::Command::journey) {
    nlohmann::json& properties = message["properties"] = nlohmann::json::object();
    text(properties, "journeyIdToTrigger", draft.journey_id);
    text(properties, "stepIdToTrigger", draft.step_id);
  }
  value("context", draft.context);
  text(message, "messageId", draft.message_id);
  if (draft.timestamp_ms) {
    event::under("timestamp", [&] { event::check_timestamp(*draft.timestamp_ms); });
    const event::TimestampText timestamp = event::format_timestamp(*draft.timestamp_ms);
    message["timestamp"] = std::string_view(timestamp.data(), timestamp.size());
  }
  if (draft.data) {
    event::check_data(draft.data, draft.command);
    message.update(value_of(draft.data));
  }
  return message;
}

/// A text that is not given when it is empty.
std::string_view optional_text(std::string_view text) { return text.empty() ? std::string_view() : text; }

void log_to_stderr(LogLevel level, std::string_view line) {
  constexpr std::array names{"debug", "info", "warning", "error"};
  std::fprintf(stderr, "intilery: %s: %.*s\n", names[static_cast<std::size_t>(level)], static_cast<int>(line.size()),
               line.data());
}

/// Fills handles, and calls the program's own functions one at a time.
class CppObserver : public StateObserver {
 public:
  CppObserver(Hooks hooks, bool debug) : hooks_(std::move(hooks)) {
    if (hooks_.on_log) return;
    hooks_.on_log = [least = debug ? LogLevel::debug : LogLevel::warning](LogLevel level, std::string_view line) {
      if (level >= least) log_to_stderr(level, line);
    };
  }

  void log(LogLevel level, std::string_view line) override {
    const std::lock_guard lock(hook_mutex_);
    try {
      hooks_.on_log(level, line);
    } catch (...) {  // there is no other place to say so
    }
  }

  /// Runs on the callback thread until `stop`.
  void run() {
    std::vector<DueCallback> due;
    while (pop(due)) {
      for (const DueCallback& callback : due) call(callback);
    }
    std::string rest;
    for (const std::string& line : failures_.rest()) rest += (rest.empty() ? "" : ", ") + line;
    if (!rest.empty()) log(LogLevel::warning, rest);
  }

 private:
  void call(const DueCallback& due) {
    const Receipt receipt = due.state.receipt();
    try {
      if (due.observer) {
        (*static_cast<const Callback*>(due.observer.get()))(receipt);
      } else if (hooks_.on_failure) {
        hooks_.on_failure(receipt);
      } else if (const std::string line = failures_.add(*receipt.error); !line.empty()) {
        log(LogLevel::warning, line);
      }
    } catch (const std::exception& error) {
      log(LogLevel::error, std::string("a callback threw: ") + error.what());
    } catch (...) {
      log(LogLevel::error, "a callback threw something that is no std::exception");
    }
  }

  Hooks hooks_;
  std::mutex hook_mutex_;  ///< Log lines come from more than one thread.
  FailureLog failures_;    ///< The callback thread's.
};

[[noreturn]] void no_state() { throw std::logic_error("this intilery::Delivery is empty"); }

Receipt delivered_or_throw(const DeliveryState& state) {
  Receipt receipt = state.receipt();
  if (receipt.error) throw_error(*receipt.error);
  return receipt;
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::running:
      return "running";
    case State::paused_auth:
      return "paused: auth";
    case State::paused_rate:
      return "paused: rate";
    case State::paused_unreachable:
      return "paused: unreachable";
    case State::closed:
      return "closed";
  }
  return "";
}

// Delivery.

std::string Delivery::message_id() const {
  if (!state_) no_state();
  return state_->id.text();
}

bool Delivery::done() const {
  if (!state_) no_state();
  return state_->done();
}

Receipt Delivery::wait() const {
  if (!state_) no_state();
  Waiting waiting;
  state_->wait(std::nullopt, waiting);
  return delivered_or_throw(*state_);
}

Receipt Delivery::wait(std::chrono::milliseconds timeout) const {
  if (!state_) no_state();
  Waiting waiting;
  if (!state_->wait(Clock::now() + timeout, waiting)) {
    throw_error({.kind = ErrorKind::timeout,
                 .code = "timeout",
                 .message = "no fate within " + std::to_string(timeout.count()) + " ms; the delivery goes on"});
  }
  return delivered_or_throw(*state_);
}

void Delivery::on_done(Callback callback) const {
  if (!state_) no_state();
  const auto shared = std::make_shared<Callback>(std::move(callback));
  if (!state_->observe(shared)) (*shared)(state_->receipt());
}

std::future<Receipt> Delivery::future() const {
  auto promise = std::make_shared<std::promise<Receipt>>();
  std::future<Receipt> future = promise->get_future();
  on_done([promise = std::move(promise)](const Receipt& receipt) {
    if (!receipt.error) {
      promise->set_value(receipt);
      return;
    }
    try {
      throw_error(*receipt.error);
    } catch (...) {
      promise->set_exception(std::current_exception());
    }
  });
  return future;
}

// Client.

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(Options options, Hooks hooks, std::shared_ptr<memory::Outbox> outbox)
      : before_send(std::move(options.before_send)),
        observer(std::make_shared<CppObserver>(std::move(hooks), options.debug)),
        core(std::move(options), {.name = "intilery-cpp", .version = INTILERY_VERSION}, observer, {},
             std::move(outbox)),
        callbacks(std::make_unique<std::thread>([told = observer] { told->run(); })) {}

  ~Impl() {
    if (core.is_foreign()) {
      static_cast<void>(callbacks.release());  // the parent's: not here to be joined
      return;
    }
    close(core.options().exit_timeout);              // at once, if it is closed already
    if (callbacks->joinable()) callbacks->detach();  // destroyed by one of its own callbacks
  }

  Flush close(std::optional<std::chrono::milliseconds> timeout) {
    if (core.is_foreign()) return {};
    const Flush flushed = core.close(timeout, waiting);
    observer->stop();
    const std::lock_guard lock(join_mutex);
    // A callback may close its own client: then the thread ends by itself, and the destructor joins it.
    if (callbacks->joinable() && callbacks->get_id() != std::this_thread::get_id()) callbacks->join();
    return flushed;
  }

  template <class Submit>
  Delivery start(const Callback& on_delivery, Submit submit) {
    auto state = std::make_shared<DeliveryState>(observer->make_state());
    if (on_delivery) state->observe(std::make_shared<Callback>(on_delivery));
    try {
      submit(StateObserver::tag(*state), &state->id);
    } catch (...) {
      StateObserver::forget(*state);
      throw;
    }
    return Delivery(std::move(state));
  }

  Delivery submit(std::uint16_t brand, Draft draft, const EventOptions& options) {
    draft.context = event::source_of(options.context);
    draft.anonymous_id = optional_text(options.anonymous_id);
    draft.message_id = optional_text(options.message_id);
    if (options.timestamp) {
      draft.timestamp_ms = std::chrono::floor<std::chrono::milliseconds>(options.timestamp->time_since_epoch()).count();
    }
    return start(options.on_delivery, [&](std::uintptr_t tag, event::MessageId* id) {
      if (before_send) return submit_changed(brand, [&] { return message_of(draft); }, tag, id);
      core.submit(draft, tag, id, waiting, brand);
    });
  }

  Delivery submit_message(std::uint16_t brand, const ValueSource& message, const Callback& on_delivery) {
    return start(on_delivery, [&](std::uintptr_t tag, event::MessageId* id) {
      if (before_send) return submit_changed(brand, [&] { return value_of(message); }, tag, id);
      core.submit_message(message, tag, id, waiting, brand);
    });
  }

  /// Sends what `before_send` makes of a message.
  template <class Make>
  void submit_changed(std::uint16_t brand, Make make, std::uintptr_t tag, event::MessageId* id) {
    nlohmann::json message;
    try {
      message = make();
    } catch (event::BadValue& bad) {
      return core.refuse(event::validation_error(std::move(bad)), tag);
    }
    if (message.is_object()) {  // else `send` was given something else, which the core refuses
      std::optional<nlohmann::json> changed;
      try {
        changed = before_send(std::move(message));
      } catch (...) {
        return core.refuse(before_send_failed(std::current_exception()), tag);
      }
      if (!changed || changed->is_null()) return core.drop(tag);
      if (!changed->is_object())
        return core.refuse(before_send_returned(std::string("a JSON ") + changed->type_name()), tag);
      message = std::move(*changed);
    }
    core.submit_message({&message, write_value}, tag, id, waiting, brand);
  }

  Delivery command(std::uint16_t brand, std::string_view event, std::string_view user_id, std::string_view asset_id,
                   const nlohmann::json& data, const EventOptions& options) {
    return submit(brand,
                  {.action = Action::track,
                   .user_id = optional_text(user_id),
                   .event = event,
                   .asset_id = optional_text(asset_id),
                   .data = event::source_of(data),
                   .command = Draft::Command::asset},
                  options);
  }

  template <class T, class Reader>
  Reading<T> reading(Reader reader, milliseconds timeout, std::uint16_t brand) {
    return Reading<T>([self = shared_from_this(), reader = std::make_shared<Reader>(std::move(reader)), timeout,
                       brand] { return self->core.next(*reader, timeout, self->waiting, brand); });
  }

  const decltype(Options::before_send) before_send;
  Waiting waiting;  ///< C++ has no lock of its own to let go of.
  std::shared_ptr<CppObserver> observer;
  ClientCore core;
  std::mutex join_mutex;
  std::unique_ptr<std::thread> callbacks;
};

Client::Client(Options options, Hooks hooks) : Client(std::move(options), std::move(hooks), nullptr) {}
Client::Client(Options options, Hooks hooks, std::shared_ptr<memory::Outbox> outbox)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(hooks), std::move(outbox))) {}
Client::Client(std::shared_ptr<Impl> impl, std::uint16_t brand) : impl_(std::move(impl)), brand_(brand), view_(true) {}
Client::~Client() {
  if (impl_ && !view_) impl_->close(impl_->core.options().exit_timeout);  // views may still hold it
}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  Client old(std::move(*this));
  impl_ = std::move(other.impl_);
  brand_ = other.brand_;
  view_ = other.view_;
  return *this;
}

Client Client::from_env(Hooks hooks) { return Client(Options::from_env(), std::move(hooks)); }

Client Client::brand(std::string_view brand_id) const { return {impl_, impl_->core.brand(brand_id)}; }

Delivery Client::identify(std::string_view user_id, const nlohmann::json& traits, const EventOptions& options) {
  return impl_->submit(
      brand_, {.action = Action::identify, .user_id = optional_text(user_id), .body = event::source_of(traits)},
      options);
}

Delivery Client::track(std::string_view user_id, std::string_view event, const nlohmann::json& properties,
                       const EventOptions& options) {
  return impl_->submit(brand_,
                       {.action = Action::track,
                        .user_id = optional_text(user_id),
                        .event = optional_text(event),
                        .body = event::source_of(properties)},
                       options);
}

Delivery Client::page(std::string_view user_id, const nlohmann::json& properties, const EventOptions& options) {
  return impl_->submit(
      brand_, {.action = Action::page, .user_id = optional_text(user_id), .body = event::source_of(properties)},
      options);
}

Delivery Client::screen(std::string_view user_id, std::string_view name, const nlohmann::json& properties,
                        const EventOptions& options) {
  return impl_->submit(brand_,
                       {.action = Action::screen,
                        .user_id = optional_text(user_id),
                        .name = optional_text(name),
                        .body = event::source_of(properties)},
                       options);
}

Delivery Client::send_email(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data,
                            const EventOptions& options) {
  return impl_->command(brand_, "send_email", user_id, asset_id, data, options);
}
Delivery Client::send_sms(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data,
                          const EventOptions& options) {
  return impl_->command(brand_, "send_sms", user_id, asset_id, data, options);
}
Delivery Client::send_print(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data,
                            const EventOptions& options) {
  return impl_->command(brand_, "send_print", user_id, asset_id, data, options);
}
Delivery Client::send_push(std::string_view user_id, std::string_view asset_id, const nlohmann::json& data,
                           const EventOptions& options) {
  return impl_->command(brand_, "send_push", user_id, asset_id, data, options);
}

Delivery Client::start_journey(std::string_view user_id, std::string_view journey_id, std::string_view step_id,
                               const nlohmann::json& data, const EventOptions& options) {
  return impl_->submit(brand_,
                       {.action = Action::track,
                        .user_id = optional_text(user_id),
                        .event = "start_journey",
                        .journey_id = optional_text(journey_id),
                        .step_id = optional_text(step_id),
                        .data = event::source_of(data),
                        .command = Draft::Command::journey},
                       options);
}

Delivery Client::send(const nlohmann::json& message, Callback on_delivery) {
  return impl_->submit_message(brand_, {&message, write_value}, on_delivery);
}

Delivery Client::identify_raw(std::string_view user_id, RawJson traits, const EventOptions& options) {
  return impl_->submit(
      brand_, {.action = Action::identify, .user_id = optional_text(user_id), .body = raw_source(traits)}, options);
}
Delivery Client::track_raw(std::string_view user_id, std::string_view event, RawJson properties,
                           const EventOptions& options) {
  return impl_->submit(brand_,
                       {.action = Action::track,
                        .user_id = optional_text(user_id),
                        .event = optional_text(event),
                        .body = raw_source(properties)},
                       options);
}
Delivery Client::page_raw(std::string_view user_id, RawJson properties, const EventOptions& options) {
  return impl_->submit(
      brand_, {.action = Action::page, .user_id = optional_text(user_id), .body = raw_source(properties)}, options);
}
Delivery Client::screen_raw(std::string_view user_id, std::string_view name, RawJson properties,
                            const EventOptions& options) {
  return impl_->submit(brand_,
                       {.action = Action::screen,
                        .user_id = optional_text(user_id),
                        .name = optional_text(name),
                        .body = raw_source(properties)},
                       options);
}
Delivery Client::send_raw(RawJson message, Callback on_delivery) {
  return impl_->submit_message(brand_, raw_source(message), on_delivery);
}

Flush Client::flush(std::optional<std::chrono::milliseconds> timeout) {
  return impl_->core.flush(timeout, impl_->waiting);
}
Flush Client::close(std::optional<std::chrono::milliseconds> timeout) { return impl_->close(timeout); }
Stats Client::stats() const { return impl_->core.stats(); }
void Client::set_auth_token(std::string token) { impl_->core.set_auth_token(std::move(token)); }

Verification Client::verify(std::span<const std::string> message_ids, std::string_view user_id,
                            std::chrono::milliseconds timeout,
                            std::optional<std::chrono::system_clock::time_point> start,
                            std::optional<std::chrono::system_clock::time_point> end) {
  const readback::Where where{.user_id = user_id, .start = start, .end = end};
  return impl_->core.verify(message_ids, where, timeout, impl_->waiting, brand_);
}

Reading<Event> Client::events(EventQuery query) {
  const milliseconds timeout = query.timeout;
  return impl_->reading<Event>(readback::EventReader(std::move(query)), timeout, brand_);
}

std::optional<Profile> Client::profile(const ProfileKey& key, milliseconds timeout) {
  const auto read = [&](const std::string& path, Clock::time_point deadline) {
    return impl_->core.read(path, deadline, impl_->waiting, brand_);
  };
  return readback::find_profile(key, read, Clock::now() + timeout);
}

Reading<Profile> Client::profiles(std::string email, milliseconds timeout) {
  return impl_->reading<Profile>(readback::ProfileReader(std::move(email)), timeout, brand_);
}

}  // namespace intilery
