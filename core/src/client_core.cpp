#include "client_core.hpp"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "case_hint.hpp"
#include "delivery/engine.hpp"
#include "delivery/shared_pace.hpp"
#include "event/encoder.hpp"
#include "event/timestamp.hpp"
#include "fork.hpp"
#include "memory/outbox.hpp"
#include "plan/guard.hpp"
#include "queue/bounded_queue.hpp"
#include "queue/spool.hpp"
#include "readback/verifier.hpp"
#include "sigpipe.hpp"
#include "transport/curl_transport.hpp"
#include "wait_slices.hpp"

namespace intilery {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Options checked(Options options, const OptionStyle& style) {
  check_options(options, style);
  if (options.plan.is_string()) {
    options.plan = std::filesystem::absolute(options.plan.get_ref<const std::string&>()).string();
  }
  return options;
}

/// How long the I/O thread leaves new events alone after it took some.
constexpr milliseconds rest(1);

queue::EventPtr row(queue::EventPtr event) {
  event->row = true;
  return event;
}

std::optional<Clock::time_point> deadline_after(std::optional<milliseconds> timeout) {
  // A time-out that no clock can show is none.
  if (!timeout || *timeout > std::chrono::hours(24 * 365 * 100)) return std::nullopt;
  return Clock::now() + *timeout;
}

ErrorInfo queue_full(std::size_t max_queue_bytes) {
  return {.kind = ErrorKind::queue_full,
          .code = "queue_full",
          .message = "the queue holds max_queue_bytes = " + std::to_string(max_queue_bytes) +
                     " bytes; wait for deliveries, allow more, or choose another on_full"};
}

ErrorInfo closed() {
  return {.kind = ErrorKind::closed, .code = "closed", .message = "the client is closed; make a new one"};
}

}  // namespace

ValidationError before_send_failed(std::exception_ptr cause) {
  // Not what the cause says: that may be what the event holds.
  return ValidationError({.kind = ErrorKind::validation,
                          .code = "before_send_failed",
                          .message = "before_send failed, so the event is not sent; the cause of this error says why",
                          .path = "before_send",
                          .cause = std::move(cause)});
}

ValidationError before_send_returned(std::string_view kind) {
  return {"wrong_type", "before_send",
          "before_send must return the message to send, an object, or nothing to drop it, not " + std::string(kind)};
}

struct ClientCore::Impl {
  Impl(Options given, const Library& library, std::shared_ptr<Observer> told, const OptionStyle& style,
       std::shared_ptr<memory::Outbox> outbox)
      : options(std::move(given)),
        brands(options, style),
        observer(std::move(told)),
        guard(options.plan.is_null() ? nullptr : make_guard()),
        encoder(options, library.name, library.version, guard.get()),
        queue(options.max_queue_bytes),
        transport(outbox ? memory::Outbox::transport(std::move(outbox))
                         : transport::make_curl_transport(options, library.name + "/" + library.version)),
        engine(options, queue, *transport,
               {.settled = [this](const queue::EventList& events,
                                  const std::shared_ptr<const Outcome>& outcome) { settled(events, outcome); },
                .log = [this](LogLevel level, const std::string& line) { observer->log(level, line); },
                .unix_now_ms = event::unix_now_ms,
                .seed = std::random_device{}(),
                .pace = shared_pace(),
                .brand_name = [this](std::uint16_t brand) { return brands.name_of(brand); }},
               Clock::now()) {
    // The contract's hint; never more than a warning (design.md, wire).
    if (!unusual_cases(options).empty()) {
      observer->log(LogLevel::warning,
                    "client_id and account_id are usually lower case and brand_id upper case; they are sent as given");
    }
    if (options.dry_run) observer->log(LogLevel::info, "dry_run is on: events are checked, and nothing is sent");
    // A dry run would take what earlier clients left for sent.
    if (!options.spool_path.empty() && !options.dry_run) {
      spool = std::make_unique<queue::Spool>(
          options, brands, [this](LogLevel level, const std::string& line) { observer->log(level, line); });
      queue.restore(spool->adopt());
    }
    io_thread = std::thread([this] { run(); });
  }

  ~Impl() { stop(); }

  std::unique_ptr<const plan::Guard> make_guard() {
    return std::make_unique<const plan::Guard>(
        options.plan, options.plan_mode,
        [this](LogLevel level, const std::string& line) { observer->log(level, line); });
  }

  /// Null without a `rate_limit_store`.
  std::unique_ptr<delivery::Pace> shared_pace() {
    if (options.rate_limit_store.empty() || options.dry_run) return nullptr;
    auto store = std::make_unique<delivery::RedisRateStore>(options, [this] { transport->wake(); });
    delivery::OwnPace own(options.rate_limit, options.burst, options.retry_max, std::random_device{}(), Clock::now());
    return std::make_unique<delivery::SharedPace>(
        std::move(store), std::move(own), options,
        [this](LogLevel level, const std::string& line) { observer->log(level, line); }, std::random_device{}());
  }

  bool is_foreign() const { return generation != fork_generation(); }
  void check_process() const {
    if (is_foreign()) throw_foreign();
  }
  void check_reading() const {
    check_process();
    if (!options.dry_run) return;
    throw_error({.kind = ErrorKind::delivery,
                 .code = "dry_run",
                 .message = "nothing was sent (dry_run is on), so there is nothing to read back"});
  }

  void stop() {
    queue.close();
    {
      const std::lock_guard lock(control_mutex);
      stopping = true;
    }
    transport->wake();
    const std::lock_guard lock(join_mutex);
    if (!io_thread.joinable()) return;
    io_thread.join();
    if (spool) spool->close();
  }

  /// Has `command` run on the I/O thread. False once that has ended.
  bool post(std::function<void()> command) {
    {
      const std::lock_guard lock(control_mutex);
      if (stopping) return false;
      commands.push_back(std::move(command));
    }
    transport->wake();
    return true;
  }

  void run() {
    block_sigpipe();
    for (;;) {
      std::vector<std::function<void()>> due;
      bool last = false;
      {
        const std::lock_guard lock(control_mutex);
        due.swap(commands);
        last = stopping;
      }
      for (const std::function<void()>& command : due) command();
      if (last) break;
      Clock::time_point now = Clock::now();
      const bool took = engine.step(now);
      const delivery::Engine::Nap nap = engine.nap(now);
      milliseconds timeout(3'600'000);
      if (nap.until) timeout = std::max(milliseconds(0), std::chrono::ceil<milliseconds>(*nap.until - now));
      if (took) {
        // Where one event came, more may follow: looking again in a moment spares their callers waking this thread,
        // which would cost each of them more than the whole call.
        timeout = std::min(timeout, rest);
      } else if (!queue.sleep_until(nap.wake_at)) {
        timeout = milliseconds(0);
      }
      if (spool && spool->tidy()) timeout = std::min(timeout, rest);
      std::vector<transport::Response> responses = transport->poll(timeout);
      now = Clock::now();
      for (transport::Response& response : responses) engine.handle(std::move(response), now);
    }
    engine.abort(Clock::now());
  }

  /// In this order, so that whoever waits for a delivery finds it counted, and whoever waits for a flush finds its
  /// deliveries told.
  void settled(const queue::EventList& events, const std::shared_ptr<const Outcome>& outcome) {
    if (spool) settle_spool(events, *outcome);
    queue.count(events, outcome->error ? outcome->error->code : std::string());
    group.clear();
    const std::int64_t now_us = event::unix_now_us();
    std::size_t adopted = 0;
    for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
      if (event->adopted) {  // whoever called is gone
        ++adopted;
        continue;
      }
      // The system's clock may have been set back meanwhile.
      const std::chrono::microseconds latency(std::max<std::int64_t>(0, now_us - event->called_unix_us));
      group.push_back({event->tag, event, outcome, latency});
    }
    if (!group.empty()) observer->finished(group);
    if (adopted > 0 && outcome->error && !outcome->closing) {
      observer->log(LogLevel::warning,
                    std::to_string(adopted) +
                        " events that an earlier client left in the spool failed: " + outcome->error->message);
    }
    queue.conclude(events, outcome->error == nullptr);
  }

  void settle_spool(const queue::EventList& events, const Outcome& outcome) {
    if (outcome.closing) return;  // it goes with the next client
    if (!outcome.error) {
      spool->remove_soon(events);
    } else if (outcome.error->code == "dropped") {
      spool->remove(events);
    } else {
      spool->bury(events, *outcome.error);
    }
  }

  /// Tells of an event that failed in the call.
  void fail_at_call(std::uintptr_t tag, const queue::Event* event, ErrorInfo error) {
    queue.count_refused(error.code);
    Outcome outcome;
    outcome.error = std::make_shared<const ErrorInfo>(std::move(error));
    const Finished finished{tag, event, std::make_shared<const Outcome>(std::move(outcome)), {}};
    observer->finished({&finished, 1});
  }

  /// \param on_full if given, overrides the option; `block` waits without a time-out then.
  void submit(queue::EventPtr event, std::uintptr_t tag, Waiting& waiting, std::uint16_t brand,
              std::optional<OnFull> on_full = {}) {
    event->tag = tag;
    event->brand = brand;
    event->lane = queue::lane_of(event->lane, brand);
    if (spool) {
      if (queue.closed()) throw_error(closed());
      std::optional<Released> released;
      if (options.spool_sync == SpoolSync::power) released.emplace(waiting);
      spool->store(*event);
    }
    try {
      enqueue(event, tag, waiting, on_full);
    } catch (...) {
      if (spool) spool->remove(*event);
      throw;
    }
    if (event && spool) spool->remove(*event);  // refused, and told so
  }

  /// Leaves the event with its owner if it was not accepted.
  void enqueue(queue::EventPtr& event, std::uintptr_t tag, Waiting& waiting, std::optional<OnFull> on_full) {
    std::optional<Clock::time_point> deadline;
    if (on_full) deadline = Clock::time_point::max();
    for (;;) {
      switch (queue.push(event)) {
        case queue::BoundedQueue::Push::accepted_wake:
          transport->wake();
          return;
        case queue::BoundedQueue::Push::accepted:
          return;
        case queue::BoundedQueue::Push::closed:
          throw_error(closed());
        case queue::BoundedQueue::Push::full:
          break;
      }
      const std::size_t footprint = event->footprint();
      switch (on_full.value_or(options.on_full)) {
        case OnFull::raise:
          throw_error(queue_full(options.max_queue_bytes));
        case OnFull::fail:
          fail_at_call(tag, event.get(), queue_full(options.max_queue_bytes));
          return;
        case OnFull::block:
          if (!deadline) deadline = Clock::now() + options.block_timeout;
          if (!queue.wait_for_space(footprint, *deadline, waiting)) throw_error(queue_full(options.max_queue_bytes));
          break;
        case OnFull::drop_oldest:
          drop_oldest(footprint, waiting);
          break;
      }
    }
  }

  /// Makes room. The events that wait longest are the I/O thread's, so it is asked, and waited for.
  void drop_oldest(std::size_t footprint, Waiting& waiting) {
    post([this, footprint] { engine.drop_oldest(footprint, Clock::now()); });
    if (!queue.wait_for_space(footprint, Clock::now() + milliseconds(1'000), waiting)) {
      throw_error(queue_full(options.max_queue_bytes));  // everything is under way
    }
  }

  const unsigned generation = fork_generation();
  const Options options;
  Brands brands;
  const std::shared_ptr<Observer> observer;
  const std::unique_ptr<const plan::Guard> guard;  ///< Null without a plan.
  const event::Encoder encoder;
  queue::BoundedQueue queue;
  std::unique_ptr<queue::Spool> spool;  ///< Null without one.
  const std::unique_ptr<transport::Transport> transport;
  delivery::Engine engine;      ///< The I/O thread's, but for `fill`.
  std::vector<Finished> group;  ///< The I/O thread's; kept for its memory.

  std::mutex control_mutex;  ///< Guards the two below.
  std::vector<std::function<void()>> commands;
  bool stopping = false;
  std::mutex join_mutex;
  std::thread io_thread;
};

ClientCore::ClientCore(Options options, Library library, std::shared_ptr<Observer> observer, const OptionStyle& style,
                       std::shared_ptr<memory::Outbox> outbox)
    : impl_(std::make_unique<Impl>(checked(std::move(options), style), library, std::move(observer), style,
                                   std::move(outbox))) {}

ClientCore::~ClientCore() {
  if (impl_->is_foreign()) static_cast<void>(impl_.release());  // its thread is not here to be joined
}

const Options& ClientCore::options() const { return impl_->options; }

bool ClientCore::is_foreign() const { return impl_->is_foreign(); }

std::uint16_t ClientCore::brand(std::string_view name) {
  impl_->check_process();
  return impl_->brands.number_of(name);
}

void ClientCore::submit(const event::Draft& draft, std::uintptr_t tag, event::MessageId* id, Waiting& waiting,
                        std::uint16_t brand) {
  impl_->check_process();
  event::MessageId made;
  event::MessageId& target = id != nullptr ? *id : made;
  queue::EventPtr event;
  try {
    event = impl_->encoder.encode(draft, target);
  } catch (const ValidationError& error) {
    target = {};
    refuse(error, tag);
    return;
  }
  impl_->submit(std::move(event), tag, waiting, brand);
}

void ClientCore::submit_message(const event::ValueSource& source, std::uintptr_t tag, event::MessageId* id,
                                Waiting& waiting, std::uint16_t brand) {
  impl_->check_process();
  event::MessageId made;
  event::MessageId& target = id != nullptr ? *id : made;
  queue::EventPtr event;
  try {
    event = impl_->encoder.encode_message(source, target);
  } catch (const ValidationError& error) {
    target = {};
    refuse(error, tag);
    return;
  }
  impl_->submit(std::move(event), tag, waiting, brand);
}

void ClientCore::submit_row(const event::Draft& draft, std::uintptr_t tag, Waiting& waiting, bool wait,
                            std::uint16_t brand) {
  impl_->check_process();
  event::MessageId id;
  impl_->submit(row(impl_->encoder.encode(draft, id)), tag, waiting, brand, wait ? OnFull::block : OnFull::raise);
}

void ClientCore::submit_row_message(const event::ValueSource& source, std::uintptr_t tag, Waiting& waiting, bool wait,
                                    std::uint16_t brand) {
  impl_->check_process();
  event::MessageId id;
  impl_->submit(row(impl_->encoder.encode_message(source, id)), tag, waiting, brand,
                wait ? OnFull::block : OnFull::raise);
}

std::string ClientCore::preview(const event::Draft& draft) const {
  event::MessageId id;
  return std::string(impl_->encoder.encode(draft, id)->bytes()) + "}";
}

void ClientCore::refuse(const ValidationError& error, std::uintptr_t tag) {
  impl_->check_process();
  if (impl_->queue.closed()) throw_error(closed());
  if (impl_->options.on_invalid == OnInvalid::raise) throw error;
  impl_->fail_at_call(tag, nullptr, error.info());
}

void ClientCore::drop(std::uintptr_t tag) {
  impl_->check_process();
  if (impl_->queue.closed()) throw_error(closed());
  impl_->fail_at_call(tag, nullptr,
                      {.kind = ErrorKind::delivery, .code = "before_send", .message = "before_send dropped the event"});
}

Flush ClientCore::flush(std::optional<milliseconds> timeout, Waiting& waiting) {
  if (is_foreign()) return {};
  return impl_->queue.flush(deadline_after(timeout), waiting, [this] { impl_->transport->wake(); });
}

bool ClientCore::is_idle() const { return is_foreign() || impl_->queue.is_idle(); }

bool ClientCore::when_idle(std::function<void()> told) {
  return !is_foreign() && impl_->queue.when_idle(std::move(told));
}

Flush ClientCore::close(std::optional<milliseconds> timeout, Waiting& waiting) {
  if (is_foreign()) return {};
  impl_->queue.close();
  const Flush flushed = flush(timeout, waiting);
  const Released released(waiting);
  impl_->stop();
  return flushed;
}

Stats ClientCore::stats() const {
  Stats stats;
  if (is_foreign()) {
    stats.state = State::closed;
    return stats;
  }
  impl_->engine.fill(stats);
  impl_->queue.fill(stats);
  if (impl_->guard) impl_->guard->fill(stats);
  if (impl_->queue.closed()) stats.state = State::closed;
  return stats;
}

void ClientCore::set_auth_token(std::string token) {
  impl_->check_process();
  Options changed = impl_->options;
  changed.auth_token = token;
  check_options(changed);
  impl_->post([impl = impl_.get(), token = std::move(token)] { impl->engine.set_token(token, Clock::now()); });
}

delivery::ReadResult ClientCore::read(const std::string& path, TimePoint deadline, Waiting& waiting,
                                      std::uint16_t brand) {
  impl_->check_reading();
  struct Answer {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<delivery::ReadResult> result;
  };
  const auto answer = std::make_shared<Answer>();
  const auto done = [answer](delivery::ReadResult result) {
    const std::lock_guard lock(answer->mutex);
    answer->result = std::move(result);
    answer->changed.notify_all();
  };
  const bool posted = impl_->post([impl = impl_.get(), path, deadline, done, brand] {
    impl->engine.read({.path = path, .deadline = deadline, .done = done, .brand = brand});
  });
  if (!posted) throw_error(closed());
  std::unique_lock lock(answer->mutex);
  if (!wait_in_slices(lock, answer->changed, deadline, waiting, [&] { return answer->result.has_value(); })) {
    throw_error(
        {.kind = ErrorKind::timeout, .code = "timeout", .message = "reading back took longer than its time-out"});
  }
  return std::move(*answer->result);
}

Verification ClientCore::verify(std::span<const std::string> message_ids, const readback::Where& where,
                                milliseconds timeout, Waiting& waiting, std::uint16_t brand) {
  impl_->check_reading();
  const auto read_page = [&](const std::string& path, TimePoint deadline) {
    return read(path, deadline, waiting, brand);
  };
  const auto pause = [&](Clock::time_point until) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    wait_in_slices(lock, never, until, waiting, [&] { return impl_->queue.closed(); });
  };
  return readback::verify(message_ids, where, Clock::now() + timeout, read_page, pause);
}

queue::EventPtr ClientCore::row_event(const event::Draft& draft) const {
  event::MessageId id;
  return impl_->encoder.encode(draft, id);
}

queue::EventPtr ClientCore::row_event(const event::ValueSource& source) const {
  event::MessageId id;
  return impl_->encoder.encode_message(source, id);
}

}  // namespace intilery
